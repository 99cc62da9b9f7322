/** GET /health: the process is up. GET /ready: it can do its work. Neither asks for a token, neither says more. */
import { z } from 'zod';
import { drainingError, LastseenError } from '../../errors.ts';
import type { Description } from '../../http/description.ts';
import { defineGateway } from '../gateway.ts';

const description = {
  name: 'health',
  text: 'For whoever watches over the process.',
  routes: {
    'GET /health': {
      summary: 'The process is up',
      access: 'open',
      answers: {
        200: { text: 'it is', content: { 'application/json': z.object({ status: z.literal('ok') }) } },
      },
    },
    'GET /ready': {
      summary: 'It can take work',
      access: 'open',
      answers: {
        200: { text: 'it can', content: { 'application/json': z.object({ status: z.literal('ready') }) } },
      },
      errors: ['ERR_DRAINING', 'ERR_STORE_UNAVAILABLE'],
    },
  },
} as const satisfies Description;

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
          throw new LastseenError('ERR_STORE_UNAVAILABLE', 'the store does not answer', { cause: error });
        }
        response.json({ status: 'ready' });
      },
    });
    return undefined;
  },
});
