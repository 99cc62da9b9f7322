import { deliverySettings } from '../../delivery/settings.ts';
import { logSettings } from '../../log/settings.ts';
import type { PortsOf } from '../gateway.ts';
import { notifierSettings } from './settings.ts';

const { LASTSEEN_MAX_PAYLOAD_BYTES } = logSettings;
const { LASTSEEN_STALL_SECONDS } = deliverySettings;

/** The ports and settings of the notifier. */
export const needs = {
  ports: [
    'routes',
    'sockets',
    'guards',
    'limits',
    'bodies',
    'admission',
    'log',
    'hub',
    'peers',
    'tokens',
    'errors',
    'runtime',
  ],
  settings: { ...notifierSettings, LASTSEEN_MAX_PAYLOAD_BYTES, LASTSEEN_STALL_SECONDS },
} as const;

/** The ports and settings as `mount` receives them. */
export type NotifierPorts = PortsOf<typeof needs>;
