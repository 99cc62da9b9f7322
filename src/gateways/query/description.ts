/** Describes the gateway for the API documents. */
import { z } from 'zod';
import type { Description } from '../../http/description.ts';
import { Body } from './codec.ts';

const Result = z.object({
  columns: z.array(z.string()),
  rows: z.array(z.array(z.unknown())),
  truncated: z.boolean(),
});

/** The route of the gateway. */
export const queryDescription = {
  name: 'query',
  text: 'Runs read-only SQL over the log.',
  routes: {
    'POST /query': {
      summary:
        'Runs one read-only statement over the tables and views for analysts. The token limits the rows',
      access: 'query',
      body: { 'application/json': Body },
      answers: {
        200: {
          text: 'the rows; `Lastseen-Truncated: true` if a limit truncated them',
          content: {
            'application/json': Result,
            'application/x-ndjson': z.string(),
            'text/csv': z.string(),
          },
        },
      },
      errors: [
        'ERR_BODY_MALFORMED',
        'ERR_REQUEST_INVALID',
        'ERR_MEDIA_TYPE',
        'ERR_NOT_ACCEPTABLE',
        'ERR_TOO_LARGE',
        'ERR_QUERY_INVALID',
        'ERR_QUERY_REFUSED',
        'ERR_QUERY_LIMIT',
        'ERR_QUERY_UNAVAILABLE',
        'ERR_QUEUE_FULL',
        'ERR_RATE_LIMITED',
        'ERR_DRAINING',
        'ERR_STORE_UNAVAILABLE',
      ],
    },
  },
} as const satisfies Description;
