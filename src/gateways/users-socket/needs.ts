import type { Connection } from '../../delivery/connection.ts';
import { deliverySettings } from '../../delivery/settings.ts';
import { httpSettings } from '../../http/settings.ts';
import type { PortsOf } from '../gateway.ts';
import type { Dialect } from './codec.ts';
import type { Names } from './names.ts';
import { usersSocketSettings } from './settings.ts';

const { LASTSEEN_REQUEST_SECONDS } = httpSettings;
const { LASTSEEN_STALL_SECONDS } = deliverySettings;

/** The ports and settings of the gateway. */
export const needs = {
  ports: ['sockets', 'listenOn', 'guards', 'limits', 'admission', 'log', 'hub', 'users', 'errors', 'runtime'],
  settings: { ...usersSocketSettings, LASTSEEN_REQUEST_SECONDS, LASTSEEN_STALL_SECONDS },
} as const;

/** The ports and settings as `mount` receives them. */
export type UsersSocketPorts = PortsOf<typeof needs>;

/** An open socket, for broadcasts of other sockets. */
export interface Member {
  readonly connection: Connection;
  readonly dialect: Dialect;
}

/** The state that the sockets of the gateway share. */
export interface UsersSocketContext extends UsersSocketPorts {
  readonly names: Names;
  readonly members: Set<Member>;
}
