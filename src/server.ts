/** Composition root: engine, log, identity, delivery, gateways, listeners. What was opened is closed in reverse. */
import { createQueries } from './analysis/queries.ts';
import { createClosers } from './closers.ts';
import type { Config } from './config.ts';
import { createAdmission } from './delivery/admission.ts';
import { followControl } from './delivery/control.ts';
import { createHub } from './delivery/hub.ts';
import { openEngine } from './engines/open.ts';
import type { DeviceMount } from './gateways/fedecks/handler.ts';
import { mountGateway } from './gateways/gateway.ts';
import { GATEWAYS } from './gateways/index.ts';
import { createMeters } from './gateways/metrics/meters.ts';
import { createEdge } from './http/edge.ts';
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
    await closers.closeAll();
    throw error;
  }
}

type AddCloser = ReturnType<typeof createClosers>['add'];

async function start(
  { config, logger, onAdminToken, devices = [] }: ServerOptions,
  onClose: AddCloser,
): Promise<Omit<RunningServer, 'stop'>> {
  const { clock, timers } = runtime;
  const meters = createMeters();
  const onFault = (error: unknown): void => {
    meters.countFault();
    logger.error({ err: error }, 'background failure');
  };
  const onNotice = (message: string): void => {
    logger.warn(message);
  };
  const engine = await openEngine(config.database, {
    runtime,
    migrate: config.shouldMigrate,
    onError: onFault,
    onNotice,
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
  const hub = createHub({ timers, clock, isRevoked: identity.revocations.isRevoked });
  onClose(hub.stop);
  onClose(followControl({ log, hub, onRevoked: identity.authenticator.revoke, onFault }));
  log.onReset(() => {
    logger.warn(
      'the log was replaced by another (restored?): every connection is closed, to resume or be refused',
    );
    hub.closeAll('restarting');
  });
  const queries = createQueries({ source: config.database, limits: config, timers });
  onClose(queries.close);

  const draining = new AbortController();
  const admission = createAdmission(hub, config, draining.signal);
  const edge = createEdge({ ...identity, settings: config, admission, logger, runtime });
  const { sockets, listeners } = edge;
  const ports = {
    ...identity,
    ...edge,
    listenOn: listeners.add,
    admission,
    log,
    hub,
    peers: engine.peers,
    queries,
    meters,
    walBytes: engine.walBytes,
    descriptions: GATEWAYS.map(({ description }) => description),
    version: packageVersion(),
    devices,
    logger,
    runtime,
    draining: draining.signal,
  };
  for (const gateway of GATEWAYS) {
    onClose(mountGateway(gateway, ports, config));
  }
  edge.mountFallbacks();
  onClose(async () => {
    draining.abort();
    const drained = listeners.drain();
    hub.closeAll('restarting');
    sockets.closeAll('restarting');
    await drained;
  });
  await listeners.listen();
  const url = listeners.url();
  if (identity.newAdminToken !== undefined) {
    onAdminToken?.(identity.newAdminToken, url);
  }
  return { url, routes: edge.served() };
}
