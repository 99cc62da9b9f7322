/**
 * Noticing what other nodes append. NOTIFY is a hint without data on a connection of its own; under it lies a poll, so
 * a hint that is lost costs a quarter of a second and never an event. A LISTEN connection dies silently: a heartbeat
 * finds out, and after every new LISTEN the log is read.
 */
import pg from 'pg';
import { type BackoffLimits, backoffMs } from '../../backoff.ts';
import { type Cancel, type Runtime, withTimeout } from '../../runtime.ts';
import { abandon, connect } from './connection.ts';

/** Longest time between two looks at the log. */
const POLL_MS = 200;
const HEARTBEAT_MS = 3_000;
const HEARTBEAT_TIMEOUT_MS = 2_000;
const PROBE_MS = 2_000;
/** Of the LISTEN connection. Never sooner than its base: the poll reads meanwhile. */
const RECONNECT: BackoffLimits = { baseMs: 250, maxMs: 5_000 };

/** What a look at the log finds. */
export interface Seen {
  readonly epoch: string;
  readonly head: number;
}

export interface HeadPollerOptions {
  readonly pool: pg.Pool;
  readonly runtime: Runtime;
  /** `undefined`: only the poll. */
  readonly listenUrl: string | undefined;
  /** Highest position known to be committed. */
  readonly head: () => number;
  /** Called with every look at the log, and with what `head` was before it. */
  readonly onSeen: (seen: Seen, headBefore: number) => void;
  /** There may be more. */
  readonly onHint: () => void;
  /** Another node asks something. */
  readonly onAsk: () => void;
  /** True for the backend whose hints are our own. */
  readonly isOwn: (processId: number) => boolean;
  readonly onError: (error: unknown) => void;
  /** Something the operator should know, said once. */
  readonly onNotice: (message: string) => void;
}

export interface HeadPoller {
  stop(): Promise<void>;
}

export function startHeadPoller(options: HeadPollerOptions): HeadPoller {
  const { timers, random } = options.runtime;
  const stopping = new AbortController();
  const isStopped = (): boolean => stopping.signal.aborted;
  let isPolling = false;
  let isBroken = false;
  let listener: pg.Client | undefined;
  let reconnect: Cancel | undefined;
  let failures = 0;
  let hasHints = false;
  let hasSaidSo = false;

  const stopPoll = timers.every(POLL_MS, () => {
    void look();
  });
  const stopHeartbeat = timers.every(HEARTBEAT_MS, () => {
    void check();
  });

  async function look(): Promise<void> {
    if (isPolling || isStopped()) {
      return;
    }
    isPolling = true;
    const headBefore = options.head();
    try {
      const found = await options.pool.query<Seen>('select epoch, head from log');
      const seen = found.rows[0];
      if (seen !== undefined && !isStopped()) {
        options.onSeen(seen, headBefore);
      }
      isBroken = false;
    } catch (error) {
      // Said once for each time it breaks.
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
        onLost: (lost) => {
          lose(lost, url);
        },
      });
      client.on('notification', (message) => {
        failures = 0;
        if (message.channel === 'lastseen_ask') {
          options.onAsk();
        } else if (!options.isOwn(message.processId)) {
          options.onHint();
        }
      });
      if (isStopped()) {
        abandon(client);
        return;
      }
      listener = client;
      await client.query('listen lastseen; listen lastseen_ask');
      // What was committed before this moment sent no hint to us.
      options.onHint();
      await probe(client);
    } catch (error) {
      if (failures === 0) {
        options.onError(error);
      }
      lose(listener, url);
    }
  }

  /** A transaction pooler takes LISTEN and never delivers: found out by a hint to ourselves. */
  async function probe(client: pg.Client): Promise<void> {
    if (hasHints || hasSaidSo) {
      return;
    }
    const heard = new Promise<boolean>((resolve) => {
      client.once('notification', () => {
        resolve(true);
      });
    });
    await options.pool.query('notify lastseen_ask');
    hasHints = await withTimeout(heard, {
      timers,
      ms: PROBE_MS,
      onTimeout: () => new Error('no hint'),
    }).catch(() => false);
    if (!hasHints && client === listener) {
      hasSaidSo = true;
      options.onNotice(
        `LISTEN brings no notifications (a transaction pooler?): polling every ${POLL_MS} ms. Give a direct address in DATABASE_LISTEN_URL, or "off"`,
      );
    }
  }

  function lose(client: pg.Client | undefined, url: string): void {
    if (client !== undefined && client !== listener) {
      return;
    }
    listener = undefined;
    if (client !== undefined) {
      abandon(client);
    }
    if (isStopped() || reconnect !== undefined) {
      return;
    }
    failures += 1;
    const pauseMs = backoffMs(failures, { ...RECONNECT, random, atLeastMs: RECONNECT.baseMs });
    reconnect = timers.after(pauseMs, () => {
      reconnect = undefined;
      void listen(url);
    });
  }

  /** A peer that swallows bytes does not answer. */
  async function check(): Promise<void> {
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
      lose(client, url);
    }
  }

  if (options.listenUrl === undefined) {
    options.onNotice(`no LISTEN: polling every ${POLL_MS} ms`);
  } else {
    void listen(options.listenUrl);
  }

  return {
    async stop() {
      stopping.abort();
      stopPoll();
      stopHeartbeat();
      reconnect?.();
      const client = listener;
      listener = undefined;
      if (client !== undefined) {
        await client.end().catch(() => undefined);
      }
    },
  };
}
