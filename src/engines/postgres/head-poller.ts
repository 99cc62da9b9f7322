/**
 * Follows the head of a log to which other nodes append too. NOTIFY wakes the readers at once and carries no data; a poll
 * every 200 ms covers notifications that were lost. A LISTEN connection can die silently: a heartbeat checks it, and after
 * each new LISTEN the readers read the log.
 */
import type pg from 'pg';
import { type BackoffLimits, backoffMs } from '../../backoff.ts';
import type { Lineage, Place } from '../../log/place.ts';
import { type Cancel, type Runtime, withTimeout } from '../../runtime.ts';
import { connect, type Connection, destroyConnection } from './connection.ts';
import { isSameServer, type ServerIdentity } from './server-identity.ts';

const POLL_MS = 200;
const HEARTBEAT_MS = 3_000;
const HEARTBEAT_TIMEOUT_MS = 2_000;
const PROBE_MS = 2_000;
/** Of the LISTEN connection; the pause is at least `baseMs`, since the poll reads meanwhile. */
const RECONNECT: BackoffLimits = { baseMs: 250, maxMs: 5_000 };

/** Where the log ends, and whether it is the history of this node. */
export interface LogHead {
  readonly isHeld: boolean;
  readonly position: number;
  readonly tag: number;
}

export interface HeadPollerOptions {
  readonly pool: pg.Pool;
  readonly runtime: Runtime;
  /** `undefined`: polls without LISTEN. */
  readonly listenUrl: string | undefined;
  readonly lineage: Lineage;
  /** The newest place that is known to be committed. Every poll proves it. */
  readonly seen: () => Place;
  /** Called with the result of every poll. */
  readonly onHead: (found: LogHead) => void;
  /** Called when another node may have appended. */
  readonly onWake: () => void;
  /** Called when another node asks all nodes, or shares entries. */
  readonly onPeers: () => void;
  /** True for the backend that sends this node's own notifications. */
  readonly isOwnBackend: (processId: number) => boolean;
  readonly onError: (error: unknown) => void;
  /** Called once with each thing that the operator should know. */
  readonly onNotice: (message: string) => void;
}

export interface HeadPoller {
  /** Opens the LISTEN connection anew, unless it is one to the server `except`. */
  dropConnection(except: ServerIdentity | undefined): void;
  stop(): void;
}

export function startHeadPoller(options: HeadPollerOptions): HeadPoller {
  const { timers, random } = options.runtime;
  const stopping = new AbortController();
  const isStopped = (): boolean => stopping.signal.aborted;
  let isPolling = false;
  let isBroken = false;
  let listener: Connection | undefined;
  let cancelReconnect: Cancel | undefined;
  let failures = 0;
  let hasNotifications = false;
  let hasWarned = false;

  const stopPolling = timers.every(POLL_MS, () => {
    void poll();
  });
  const stopHeartbeat = timers.every(HEARTBEAT_MS, () => {
    void checkHealth();
  });

  async function poll(): Promise<void> {
    if (isPolling || isStopped()) {
      return;
    }
    isPolling = true;
    const seen = options.seen();
    try {
      const { rows } = await options.pool.query<LogHead>(
        `select epoch = $1 and lastseen_holds($2, $3) as "isHeld", head as position, head_tag as tag from log`,
        [options.lineage.epoch, seen.position, seen.tag],
      );
      const [found] = rows;
      if (found !== undefined && !isStopped()) {
        options.onHead(found);
      }
      isBroken = false;
    } catch (error) {
      // Reported once for each outage.
      if (!isBroken && !isStopped()) {
        options.onError(error);
      }
      isBroken = true;
    } finally {
      isPolling = false;
    }
  }

  async function listen(url: string): Promise<void> {
    try {
      const client = await connect(url, {
        name: 'lastseen listen',
        access: 'primary',
        onLost: (lost) => {
          reconnectLater(lost, url);
        },
      });
      client.on('notification', (message) => {
        failures = 0;
        if (message.channel === 'lastseen_ask') {
          options.onPeers();
        } else if (!options.isOwnBackend(message.processId)) {
          options.onWake();
        }
      });
      if (isStopped()) {
        destroyConnection(client);
        return;
      }
      listener = client;
      await client.query('listen lastseen; listen lastseen_ask');
      // This connection got no notification of what was committed before LISTEN.
      options.onWake();
      await probe(client);
    } catch (error) {
      if (failures === 0) {
        options.onError(error);
      }
      reconnectLater(listener, url);
    }
  }

  /** Warns if LISTEN brings nothing, as behind a transaction pooler: sends a notification and waits for it. */
  async function probe(client: pg.Client): Promise<void> {
    if (hasNotifications || hasWarned) {
      return;
    }
    const notified = new Promise<boolean>((resolve) => {
      client.once('notification', () => {
        resolve(true);
      });
    });
    await options.pool.query('notify lastseen_ask');
    hasNotifications = await withTimeout(notified, {
      timers,
      ms: PROBE_MS,
      onTimeout: () => new Error('no notification'),
    }).catch(() => false);
    if (!hasNotifications && client === listener) {
      hasWarned = true;
      options.onNotice(
        `LISTEN brings no notifications (a transaction pooler?): polling every ${POLL_MS} ms. Give a direct address in DATABASE_LISTEN_URL, or "off"`,
      );
    }
  }

  function reconnectLater(client: pg.Client | undefined, url: string): void {
    if (client !== undefined && client !== listener) {
      return;
    }
    listener = undefined;
    if (client !== undefined) {
      destroyConnection(client);
    }
    if (isStopped() || cancelReconnect !== undefined) {
      return;
    }
    failures += 1;
    const pauseMs = backoffMs(failures, { ...RECONNECT, random, atLeastMs: RECONNECT.baseMs });
    cancelReconnect = timers.after(pauseMs, () => {
      cancelReconnect = undefined;
      void listen(url);
    });
  }

  /** Reconnects when the LISTEN connection does not answer: its server or a proxy may be gone without a word. */
  async function checkHealth(): Promise<void> {
    const client = listener;
    const url = options.listenUrl;
    if (client === undefined || url === undefined) {
      return;
    }
    try {
      await withTimeout(client.query('select 1'), {
        timers,
        ms: HEARTBEAT_TIMEOUT_MS,
        onTimeout: () => new Error('the LISTEN connection does not answer'),
      });
      if (client === listener) {
        failures = 0;
      }
    } catch {
      reconnectLater(client, url);
    }
  }

  if (options.listenUrl === undefined) {
    options.onNotice(`no LISTEN: polling every ${POLL_MS} ms`);
  } else {
    void listen(options.listenUrl);
  }

  return {
    dropConnection(except) {
      const url = options.listenUrl;
      if (listener !== undefined && url !== undefined && !isOf(listener, except)) {
        reconnectLater(listener, url);
      }
    },
    stop() {
      stopping.abort();
      stopPolling();
      stopHeartbeat();
      cancelReconnect?.();
      const client = listener;
      listener = undefined;
      if (client !== undefined) {
        destroyConnection(client);
      }
    },
  };
}

function isOf({ identity }: Connection, server: ServerIdentity | undefined): boolean {
  return server !== undefined && isSameServer(identity, server);
}
