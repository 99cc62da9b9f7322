/** The list of gateways. */
import { apiDocs } from './api-docs/index.ts';
import { consoleGateway } from './console/index.ts';
import { events } from './events/index.ts';
import { fedecks } from './fedecks/index.ts';
import type { Gateway } from './gateway.ts';
import { health } from './health/index.ts';
import { jsonApi } from './jsonapi/index.ts';
import { metrics } from './metrics/index.ts';
import { notifier } from './notifier/index.ts';
import { oauth } from './oauth/index.ts';
import { phoenix } from './phoenix/index.ts';
import { query } from './query/index.ts';
import { usersSocket } from './users-socket/index.ts';

/** The gateways of the service, in the order of the API documents. */
export const GATEWAYS: readonly Gateway[] = [
  notifier,
  events,
  query,
  oauth,
  jsonApi,
  phoenix,
  usersSocket,
  fedecks,
  consoleGateway,
  health,
  metrics,
  apiDocs,
];
