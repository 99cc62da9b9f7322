import { Count, setting, toMs } from '../settings.ts';

/** Settings of delivery. */
export const deliverySettings = {
  LASTSEEN_MAX_CONNECTIONS: setting(
    'maxConnections',
    'total number of sockets, event streams and pages under way',
    Count.default(10_000),
  ),
  LASTSEEN_MAX_CONNECTIONS_PER_ACCESS_ID: setting(
    'maxConnectionsPerAccessId',
    'sockets, event streams and pages under way that read one access_id',
    Count.default(10_000),
  ),
  LASTSEEN_MAX_CONNECTIONS_PER_PRINCIPAL: setting(
    'maxConnectionsPerPrincipal',
    'sockets, event streams and pages under way of one token subject',
    Count.default(10_000),
  ),
  LASTSEEN_PAGE_BUDGET_BYTES: setting(
    'pageBudgetBytes',
    'bytes of all pages that are read or on their way to clients',
    Count.default(128 * 1024 * 1024),
  ),
  LASTSEEN_PAGE_BUDGET_BYTES_PER_PRINCIPAL: setting(
    'pageBudgetBytesPerPrincipal',
    'the same bytes for one token subject',
    Count.default(64 * 1024 * 1024),
  ),
  LASTSEEN_STALL_SECONDS: setting(
    'stallTimeoutMs',
    'a client that takes no byte for this time is closed',
    Count.default(300).transform(toMs),
  ),
};
