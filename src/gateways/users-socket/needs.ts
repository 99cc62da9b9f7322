import type { Connection } from '../../delivery/connection.ts';
import { deliverySettings } from '../../delivery/settings.ts';
import { httpSettings } from '../../http/settings.ts';
import type { PortsOf } from '../gateway.ts';
import type { Dialect } from './codec.ts';
import type { Names } from './names.ts';
import { usersSocketSettings } from './settings.ts';

const { LASTSEEN_REQUEST_SECONDS } = httpSettings;
const { LASTSEEN_STALL_SECONDS } = deliverySettings;

export const needs = {
  ports: ['sockets', 'listenOn', 'guards', 'limits', 'admission', 'log', 'hub', 'users', 'errors', 'runtime'],
  settings: { ...usersSocketSettings, LASTSEEN_REQUEST_SECONDS, LASTSEEN_STALL_SECONDS },
} as const;

export type UsersSocketPorts = PortsOf<typeof needs>;

/** An open socket, as the others see it. */
export interface Member {
  readonly connection: Connection;
  readonly dialect: Dialect;
}

/** What the sockets of the gateway share. */
export interface UsersSocketContext extends UsersSocketPorts {
  readonly names: Names;
  readonly members: Set<Member>;
}
