/**
 * GET /health: the process runs. GET /ready: the server accepts work. Both are public and return nothing
 * more.
 */
import { z } from 'zod';
import { drainingError, LastseenError } from '../../errors.ts';
import type { Description } from '../../http/description.ts';
import { defineGateway } from '../gateway.ts';

const description = {
  name: 'health',
  text: 'Reports the health of the process to monitors.',
  routes: {
    'GET /health': {
      summary: 'Reports that the process runs',
      access: 'open',
      answers: {
        200: {
          text: 'the process runs',
          content: { 'application/json': z.object({ status: z.literal('ok') }) },
        },
      },
    },
    'GET /ready': {
      summary: 'Reports that the server accepts work',
      access: 'open',
      answers: {
        200: {
          text: 'the server accepts work',
          content: { 'application/json': z.object({ status: z.literal('ready') }) },
        },
      },
      errors: ['ERR_DRAINING', 'ERR_STORE_UNAVAILABLE'],
    },
  },
} as const satisfies Description;

/** The health gateway. */
export const health = defineGateway({
  name: 'health',
  description,
  needs: { ports: ['routes', 'log', 'draining'], settings: {} },
  mount({ routes, log, draining }) {
    routes.serve(description, {
      'GET /health': (_request, response) => {
        response.json({ status: 'ok' });
      },
      async 'GET /ready'(_request, response) {
        if (draining.aborted) {
          throw drainingError();
        }
        try {
          await log.bounds();
        } catch (error) {
          throw new LastseenError('ERR_STORE_UNAVAILABLE', 'the store is unavailable', { cause: error });
        }
        response.json({ status: 'ready' });
      },
    });
    return undefined;
  },
});
