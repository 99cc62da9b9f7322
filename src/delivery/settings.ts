import { Count, setting, toMs } from '../settings.ts';

/** Settings of delivery. */
export const deliverySettings = {
  LASTSEEN_MAX_CONNECTIONS: setting(
    'maxConnections',
    'total number of sockets and event streams',
    Count.default(10_000),
  ),
  LASTSEEN_MAX_CONNECTIONS_PER_ACCESS_ID: setting(
    'maxConnectionsPerAccessId',
    'sockets and event streams that read one access_id',
    Count.default(10_000),
  ),
  LASTSEEN_MAX_CONNECTIONS_PER_PRINCIPAL: setting(
    'maxConnectionsPerPrincipal',
    'sockets and event streams of one token subject',
    Count.default(10_000),
  ),
  LASTSEEN_STALL_SECONDS: setting(
    'stallTimeoutMs',
    'a client that takes no byte for this time is closed',
    Count.default(300).transform(toMs),
  ),
};
