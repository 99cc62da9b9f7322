import { deliverySettings } from '../../delivery/settings.ts';
import { identitySettings } from '../../identity/settings.ts';
import { logSettings } from '../../log/settings.ts';
import type { PortsOf } from '../gateway.ts';
import { fedecksSettings } from './settings.ts';

const { LASTSEEN_AUTH } = identitySettings;
const { LASTSEEN_MAX_PAYLOAD_BYTES } = logSettings;
const { LASTSEEN_STALL_SECONDS } = deliverySettings;

/** The ports and settings of the gateway. */
export const needs = {
  ports: [
    'sockets',
    'devices',
    'guards',
    'limits',
    'admission',
    'log',
    'hub',
    'clients',
    'grants',
    'keys',
    'errors',
    'logger',
    'runtime',
  ],
  settings: { ...fedecksSettings, LASTSEEN_AUTH, LASTSEEN_MAX_PAYLOAD_BYTES, LASTSEEN_STALL_SECONDS },
} as const;

/** The ports and settings as `mount` receives them. */
export type FedecksPorts = PortsOf<typeof needs>;
