import { deliverySettings } from '../../delivery/settings.ts';
import type { Principal } from '../../identity/principal.ts';
import { logSettings } from '../../log/settings.ts';
import type { PortsOf } from '../gateway.ts';
import type { EventsQuery } from './codec.ts';

const { LASTSEEN_MAX_PAYLOAD_BYTES } = logSettings;
const { LASTSEEN_STALL_SECONDS } = deliverySettings;

/** The ports and settings of the events gateway. */
export const needs = {
  ports: [
    'routes',
    'guards',
    'limits',
    'admission',
    'log',
    'hub',
    'pageBudget',
    'errors',
    'logger',
    'runtime',
    'draining',
  ],
  settings: { LASTSEEN_MAX_PAYLOAD_BYTES, LASTSEEN_STALL_SECONDS },
} as const;

/** The ports and settings as `mount` receives them. */
export type EventsPorts = PortsOf<typeof needs>;

/** What an answer needs. */
export interface AnswerOptions extends EventsPorts {
  readonly query: EventsQuery;
  readonly principal: Principal;
}
