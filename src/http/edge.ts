/**
 * The HTTP edge of the service: express and sockets on one server, the listeners, and the checks that
 * gateways apply to requests.
 */
import type { Admission } from '../delivery/admission.ts';
import { type ByteBudget, createByteBudget } from '../delivery/byte-budget.ts';
import type { Hub } from '../delivery/hub.ts';
import type { Logger } from '../logger.ts';
import type { Runtime } from '../runtime.ts';
import type { ValuesOf } from '../settings.ts';
import { createHttpApp, routesOf } from './app.ts';
import { type Bodies, createBodies } from './bodies.ts';
import type { ErrorReporter } from './error-reporter.ts';
import { createGuards, type GuardOptions, type Guards } from './guards.ts';
import { createListeners, type Listeners } from './listeners.ts';
import { createPipeline } from './pipeline.ts';
import { createRateLimits, type RateLimits } from './rate-limits.ts';
import { createRoutes, type Routes } from './routes.ts';
import type { httpSettings } from './settings.ts';
import { createSockets, type Sockets } from './sockets.ts';

/** The HTTP edge. */
export interface Edge {
  readonly routes: Routes;
  readonly sockets: Sockets;
  readonly listeners: Listeners;
  readonly guards: Guards;
  readonly limits: RateLimits;
  readonly bodies: Bodies;
  /** The bytes of requests that wait behind another one of their connection. */
  readonly requestBudget: ByteBudget;
  /** Returns the served routes as `GET /health`. */
  served(): string[];
  /** Mounts the handlers for unknown paths and for errors. Call it after all gateways are mounted. */
  mountFallbacks(): void;
  /** Closes every session and socket, and drains the listeners. */
  drain(): Promise<void>;
  /** Stops the checks for progress. */
  close(): void;
}

/** The settings and the parts that the edge depends on. */
export interface EdgeOptions extends Omit<GuardOptions, 'origins'> {
  readonly settings: ValuesOf<typeof httpSettings> & { readonly stallTimeoutMs: number };
  readonly admission: Admission;
  readonly hub: Hub;
  readonly errors: ErrorReporter;
  readonly logger: Logger;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
}

/** Creates the edge. It does not listen yet. */
export function createEdge({
  settings,
  admission,
  hub,
  errors,
  logger,
  runtime,
  ...identity
}: EdgeOptions): Edge {
  const { clock, timers } = runtime;
  const requestBudget = createByteBudget({
    name: 'requests',
    noun: 'requests',
    limitBytes: settings.requestBudgetBytes,
    ownerLimitBytes: settings.requestBudgetBytes / 2,
  });
  const pipeline = createPipeline({
    budget: requestBudget,
    stallTimeoutMs: settings.stallTimeoutMs,
    timers,
  });
  const { app, server, fastRoute, mountFallbacks } = createHttpApp({
    errors,
    pipeline,
    requestTimeoutMs: settings.requestTimeoutMs,
  });
  const bodies = createBodies({
    budget: createByteBudget({
      name: 'bodies',
      noun: 'bodies',
      limitBytes: settings.bodyBudgetBytes,
      ownerLimitBytes: settings.bodyBudgetBytesPerPrincipal,
    }),
    stallTimeoutMs: settings.bodyStallTimeoutMs,
    timers,
  });
  const listeners = createListeners({ host: settings.host, timers });
  listeners.add(server, settings.port);
  const sockets = createSockets({
    app,
    server,
    admission,
    bodyBudget: bodies.budget,
    requestTimeoutMs: settings.requestTimeoutMs,
    timers,
    errors,
    logger,
  });
  return {
    routes: createRoutes({ app, fastRoute }),
    sockets,
    listeners,
    guards: createGuards({ ...identity, origins: settings.origins }),
    limits: createRateLimits({ ...settings, clock }),
    bodies,
    requestBudget,
    served: () => routesOf(app),
    mountFallbacks,
    async drain() {
      const drained = listeners.drain();
      hub.closeAll('restarting');
      sockets.closeAll('restarting');
      await drained;
    },
    close() {
      pipeline.close();
      bodies.close();
    },
  };
}
