/** GET /health: the process is up. GET /ready: it can do its work. Neither asks for a token, neither says more. */
import type { Express } from 'express';
import { LastseenError } from '../log/errors.ts';
import type { Log } from '../log/log.ts';

export function mountHealth(app: Express, log: Log, isDraining: () => boolean): void {
  app.get('/health', (_request, response) => {
    response.json({ status: 'ok' });
  });
  app.get('/ready', async (_request, response) => {
    if (isDraining())
      throw new LastseenError('ERR_DRAINING', 'the server is shutting down', { temporary: true });
    try {
      await log.bounds();
    } catch (error) {
      throw new LastseenError('ERR_STORE_UNAVAILABLE', 'the store does not answer', {
        temporary: true,
        cause: error,
      });
    }
    response.json({ status: 'ready' });
  });
}
