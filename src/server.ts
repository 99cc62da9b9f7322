/**
 * Composition root: config → engine → log → identity → hub → rooms. Starts them in that order, stops them in the
 * reverse one.
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createQueries } from './analysis/queries.ts';
import type { Config } from './config.ts';
import { followControl } from './delivery/control.ts';
import { createHub } from './delivery/hub.ts';
import { openEngine } from './engines/open.ts';
import { LastseenError } from './errors.ts';
import { mountDescription } from './gateways/api-docs/index.ts';
import { consoleDescription, mountConsole } from './gateways/console/index.ts';
import { eventsDescription } from './gateways/events/description.ts';
import { mountEvents } from './gateways/events/index.ts';
import { fedecksDescription } from './gateways/fedecks/description.ts';
import { type DeviceMount, mountFedecks } from './gateways/fedecks/index.ts';
import { healthDescription, mountHealth } from './gateways/health/index.ts';
import { jsonApiDescription } from './gateways/jsonapi/description.ts';
import { mountJsonApi } from './gateways/jsonapi/index.ts';
import { createMetrics, metricsDescription } from './gateways/metrics/index.ts';
import { notifierDescription } from './gateways/notifier/description.ts';
import { mountNotifier } from './gateways/notifier/index.ts';
import { oauthDescription } from './gateways/oauth/description.ts';
import { mountOauth } from './gateways/oauth/index.ts';
import { phoenixDescription } from './gateways/phoenix/description.ts';
import { mountPhoenix } from './gateways/phoenix/index.ts';
import { queryDescription } from './gateways/query/description.ts';
import { mountQuery } from './gateways/query/index.ts';
import { usersSocketDescription } from './gateways/users-socket/description.ts';
import { mountUsersSocket } from './gateways/users-socket/index.ts';
import { createHttpApp, routesOf } from './http/app.ts';
import { createGuards } from './http/guards.ts';
import { createLimits } from './http/rate-limits.ts';
import { createSockets } from './http/sockets.ts';
import { createAuthenticator } from './identity/authenticator.ts';
import { createClients } from './identity/clients.ts';
import { createGrants } from './identity/grants.ts';
import { createKeys } from './identity/keys.ts';
import { createRevocations } from './identity/revocations.ts';
import { createTickets } from './identity/tickets.ts';
import { createTokens } from './identity/tokens.ts';
import { createUsers } from './identity/users.ts';
import { createLog } from './log/log.ts';
import { startRetention } from './log/retention.ts';
import type { Logger } from './logger.ts';
import { systemRuntime } from './system-runtime.ts';
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

/** Time for answers in flight when draining. */
const DRAIN_MS = 10_000;

/** @throws ERR_STORE_LOCKED, ERR_STORE_UNAVAILABLE, ERR_REQUEST_INVALID for wrong `devices`, or Node's error when the address cannot be listened on */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { config, logger } = options;
  const runtime = systemRuntime;
  const metrics = createMetrics();
  const onFault = (error: unknown): void => {
    metrics.countFault();
    logger.error({ err: error }, 'background failure');
  };
  const engine = await openEngine(config.database, {
    runtime,
    migrate: config.shouldMigrate,
    onError: onFault,
    onNotice: (message) => {
      logger.warn(message);
    },
  });
  const log = await createLog({
    store: engine.store,
    onError: onFault,
    onCommitDuration: metrics.commitTook,
  });
  const { identity } = engine;
  const keys = createKeys({ keys: identity.keys, keySecret: config.keySecret, runtime });
  const revocations = createRevocations(runtime.clock);
  const { append } = log;
  const tokens = createTokens({ tokens: identity.tokens, users: identity.users, keys, append, runtime });
  const clients = createClients({ clients: identity.clients, tokens: identity.tokens, append, runtime });
  const users = createUsers({ users: identity.users, tokens: identity.tokens, append, runtime });
  const tickets = createTickets({ tickets: identity.tickets, tokens: identity.tokens, runtime });
  const grants = createGrants({ tokens: identity.tokens, append, runtime });
  const limits = createLimits(config);
  let adminToken: string | undefined;
  const authenticator = await createAuthenticator({
    tokens: identity.tokens,
    keys,
    runtime,
    revocations,
    isOpen: config.isAuthOpen,
    adminToken: config.adminToken,
    outside: config.outside,
    onAdminToken: (token) => (adminToken = token),
  });
  const draining = new AbortController();
  const hub = createHub({ ...config, isRevoked: revocations.hits });
  const stopControl = followControl({ log, hub, onRevoked: authenticator.revoked, onFault });
  log.onReset(() => {
    logger.warn(
      'the log was replaced by another (restored?): every connection is closed, to resume or be refused',
    );
    hub.closeAll('restarting');
  });
  const stopRetention = startRetention({ log, retention: config.retention, logger, runtime });
  const { app, server, hot, finish } = createHttpApp(logger, config.requestTimeoutMs);
  const guards = createGuards({ authenticator, tickets, origins: config.origins });
  const isDraining = (): boolean => draining.signal.aborted;
  const sockets = createSockets({
    app,
    server,
    hub,
    maxConnections: config.maxConnections,
    isDraining,
    logger,
  });

  const listening: { readonly server: Server; readonly port: number }[] = [{ server, port: config.port }];
  const queries = createQueries({ source: config.database, limits: config, timers: runtime.timers });
  const identities = { tokens, clients, users, tickets, grants, keys, limits };
  const room = {
    ...config,
    ...identities,
    app,
    hot,
    sockets,
    peers: engine.peers,
    log,
    hub,
    guards,
    queries,
    logger,
    draining: draining.signal,
    /** A server of a room, on a port of its own: listens and stops with this one. */
    listenAlso: (another: Server, port: number): void => void listening.push({ server: another, port }),
  };
  const stops: (() => void)[] = [];
  mountNotifier(room);
  mountEvents(room);
  mountOauth(room);
  mountJsonApi(room);
  stops.push(mountPhoenix(room));
  mountUsersSocket(room);
  mountQuery(room);
  mountConsole(room);
  mountHealth(app, log, isDraining);
  metrics.mount({ app, guards, log, hub, walBytes: engine.walBytes });
  mountDescription({
    app,
    version: packageVersion(),
    descriptions: [
      notifierDescription,
      eventsDescription,
      queryDescription,
      oauthDescription,
      jsonApiDescription,
      phoenixDescription,
      usersSocketDescription,
      fedecksDescription,
      consoleDescription,
      healthDescription,
      metricsDescription,
    ],
  });
  try {
    mountFedecks({ ...room, devices: options.devices ?? [] });
    finish();
    for (const { server: each, port } of listening) {
      await listen(each, port, config.host);
    }
  } catch (error) {
    for (const { server: each } of listening) {
      each.close();
    }
    await release();
    throw error;
  }
  const url = urlOf(config.host, (server.address() as AddressInfo).port);
  if (adminToken !== undefined) {
    options.onAdminToken?.(adminToken, url);
  }

  async function stop(): Promise<void> {
    draining.abort();
    const closed = Promise.all(listening.map(({ server: each }) => close(each)));
    hub.closeAll('restarting');
    sockets.closeAll('restarting');
    // Connections that fall idle once they are answered are closed as they do.
    const idle = setInterval(() => {
      for (const { server: each } of listening) {
        each.closeIdleConnections();
      }
    }, 20);
    const cut = setTimeout(() => {
      for (const { server: each } of listening) {
        each.closeAllConnections();
      }
    }, DRAIN_MS);
    await closed;
    clearInterval(idle);
    clearTimeout(cut);
    await release();
  }

  /** What nobody is connected to any more. */
  async function release(): Promise<void> {
    await queries.close();
    hub.stop();
    stopControl();
    for (const stopRoom of stops) {
      stopRoom();
    }
    await stopRetention();
    await log.close();
  }

  let stopping: Promise<void> | undefined;
  return { url, routes: routesOf(app), stop: () => (stopping ??= stop()) };
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') {
        reject(error);
      } else {
        reject(
          new LastseenError('ERR_REQUEST_INVALID', `PORT: ${host}:${port} is in use by another process`),
        );
      }
    });
    server.listen(port, host, resolve);
  });
}

async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) =>
    server.close(() => {
      resolve();
    }),
  );
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
