/** GET /health: the process is up. GET /ready: it can do its work. Neither asks for a token, neither says more. */
import type { Express } from 'express';
import { z } from 'zod';
import { LastseenError } from '../../errors.ts';
import type { Description } from '../../http/description.ts';
import type { Log } from '../../log/log.ts';

export const healthDescription: Description = {
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
};

export function mountHealth(app: Express, log: Log, isDraining: () => boolean): void {
  app.get('/health', (_request, response) => {
    response.json({ status: 'ok' });
  });
  app.get('/ready', async (_request, response) => {
    if (isDraining()) {
      throw new LastseenError('ERR_DRAINING', 'the server is shutting down');
    }
    try {
      await log.bounds();
    } catch (error) {
      throw new LastseenError('ERR_STORE_UNAVAILABLE', 'the store does not answer', {
        cause: error,
      });
    }
    response.json({ status: 'ready' });
  });
}
