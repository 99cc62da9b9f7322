import { deliverySettings } from '../../delivery/settings.ts';
import { logSettings } from '../../log/settings.ts';
import type { PortsOf } from '../gateway.ts';
import type { Broadcasts } from './broadcasts.ts';
import type { Presence } from './presence.ts';
import { phoenixSettings } from './settings.ts';

const { LASTSEEN_MAX_PAYLOAD_BYTES } = logSettings;
const { LASTSEEN_STALL_SECONDS } = deliverySettings;

/** The ports and settings of the gateway. */
export const needs = {
  ports: ['sockets', 'guards', 'users', 'limits', 'admission', 'log', 'hub', 'peers', 'errors', 'runtime'],
  settings: { ...phoenixSettings, LASTSEEN_MAX_PAYLOAD_BYTES, LASTSEEN_STALL_SECONDS },
} as const;

/** The ports and settings as `mount` receives them. */
export type PhoenixPorts = PortsOf<typeof needs>;

/** The state that the sockets of the gateway share. */
export interface PhoenixContext extends PhoenixPorts {
  readonly broadcasts: Broadcasts;
  readonly presence: Presence;
}
