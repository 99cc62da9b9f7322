import { Count, setting, toMs } from '../settings.ts';

export const deliverySettings = {
  LASTSEEN_MAX_CONNECTIONS: setting(
    'maxConnections',
    'Sockets and event streams of one node.',
    Count.default(10_000),
  ),
  LASTSEEN_MAX_CONNECTIONS_PER_ACCESS_ID: setting(
    'maxConnectionsPerAccessId',
    'Connections of one node that read one access_id.',
    Count.default(10_000),
  ),
  LASTSEEN_MAX_CONNECTIONS_PER_PRINCIPAL: setting(
    'maxConnectionsPerPrincipal',
    'Connections of one principal on one node.',
    Count.default(10_000),
  ),
  LASTSEEN_STALL_SECONDS: setting(
    'stallTimeoutMs',
    'Seconds after which the server closes a connection that takes none of the bytes that wait for it.',
    Count.default(300).transform(toMs),
  ),
};
