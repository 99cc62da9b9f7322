/** Composition root: engine, log, identity, delivery, gateways, listeners. What was opened is closed in reverse. */
import { createQueries } from './analysis/queries.ts';
import { type Closers, createClosers } from './closers.ts';
import type { Config } from './config.ts';
import { createDelivery } from './delivery/delivery.ts';
import { openEngine } from './engines/open.ts';
import type { DeviceMount } from './gateways/fedecks/handler.ts';
import { mountGateway } from './gateways/gateway.ts';
import { GATEWAYS } from './gateways/index.ts';
import { createMeters } from './gateways/metrics/meters.ts';
import { createEdge } from './http/edge.ts';
import { createErrorReporter } from './http/error-reporter.ts';
import { createIdentity } from './identity/identity.ts';
import { createLog } from './log/log.ts';
import { startRetention } from './log/retention.ts';
import type { Logger } from './logger.ts';
import { systemRuntime as runtime } from './system-runtime.ts';
import { packageVersion } from './version.ts';

export interface ServerOptions {
  readonly config: Config;
  readonly logger: Logger;
  /** Called with the admin token made at the first start: the only time it is in clear. */
  readonly onAdminToken?: (token: string, url: string) => void;
  /** Handlers of devices, each at a path of its own. */
  readonly devices?: readonly DeviceMount[];
}

export interface RunningServer {
  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;
  /** What is served, as `GET /health`: what the description is compared with. */
  readonly routes: readonly string[];
  /**
   * Resolves when the store can append nothing more, for example because its file was replaced. End the process at once,
   * without `stop()`: nothing may be written any more.
   */
  readonly failed: Promise<Error>;
  /** Drains: stops accepting, answers what is in flight, closes sockets, flushes, closes the store. */
  stop(): Promise<void>;
}

/** @throws ERR_STORE_LOCKED, ERR_STORE_UNAVAILABLE, ERR_REQUEST_INVALID for wrong `devices`, or Node's error when the address cannot be listened on */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const closers = createClosers();
  try {
    const running = await start(options, closers.add);
    return { ...running, stop: closers.closeAll };
  } catch (error) {
    await closers.closeAll().catch((failure: unknown) => {
      options.logger.error({ err: failure }, 'closing after a failed start failed too');
    });
    throw error;
  }
}

async function start(
  { config, logger, onAdminToken, devices = [] }: ServerOptions,
  onClose: Closers['add'],
): Promise<Omit<RunningServer, 'stop'>> {
  const meters = createMeters();
  const onFault = (error: unknown): void => {
    meters.countFault();
    logger.error({ err: error }, 'background failure');
  };
  let onFatal: (error: Error) => void = () => undefined;
  const failed = new Promise<Error>((resolve) => {
    onFatal = resolve;
  });
  const engine = await openEngine(config.database, {
    runtime,
    onFatal: (error) => {
      meters.countFault();
      onFatal(error);
    },
    migrate: config.shouldMigrate,
    onError: onFault,
    onNotice: (message) => {
      logger.warn(message);
    },
  });
  const { observeCommit: onCommitDuration } = meters;
  const log = await createLog({ store: engine.store, runtime, onError: onFault, onCommitDuration });
  onClose(log.close);
  onClose(startRetention({ log, retention: config.retention, logger, runtime }));
  const identity = await createIdentity({
    stores: engine.identity,
    append: log.append,
    settings: config,
    runtime,
  });
  const abort = new AbortController();
  const draining = abort.signal;
  const delivery = createDelivery({ log, identity, limits: config, onFault, draining, logger, runtime });
  onClose(delivery.close);
  const queries = createQueries({ source: config.database, limits: config, timers: runtime.timers });
  onClose(queries.close);
  const errors = createErrorReporter(logger, runtime.random);
  const edge = createEdge({ ...identity, ...delivery, settings: config, errors, logger, runtime });
  onClose(edge.bodies.close);
  const ports = {
    ...identity,
    ...delivery,
    ...edge,
    budgets: [delivery.pageBudget, edge.bodies.budget],
    listenOn: edge.listeners.add,
    log,
    peers: engine.peers,
    queries,
    meters,
    wal: engine.wal,
    descriptions: GATEWAYS.map(({ description }) => description),
    version: packageVersion(),
    devices,
    errors,
    logger,
    runtime,
    draining,
  };
  for (const gateway of GATEWAYS) {
    onClose(mountGateway(gateway, ports, config));
  }
  edge.mountFallbacks();
  onClose(async () => {
    abort.abort();
    await edge.drain();
  });
  await edge.listeners.listen();
  const url = edge.listeners.url();
  if (identity.newAdminToken !== undefined) {
    onAdminToken?.(identity.newAdminToken, url);
  }
  return { url, routes: edge.served(), failed };
}
