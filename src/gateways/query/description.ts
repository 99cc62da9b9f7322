/** What this gateway serves, for the API documents. */
import { z } from 'zod';
import type { Description } from '../../http/description.ts';
import { Body } from './codec.ts';

const Result = z.object({
  columns: z.array(z.string()),
  rows: z.array(z.array(z.unknown())),
  truncated: z.boolean(),
});

export const queryDescription = {
  name: 'query',
  text: 'SQL over the history, read-only.',
  routes: {
    'POST /query': {
      summary: 'One statement that reads, over the tables and views of analysts and what the token covers',
      access: 'query',
      body: { 'application/json': Body },
      answers: {
        200: {
          text: 'the rows; `Lastseen-Truncated: true` when they were cut off at a limit',
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
