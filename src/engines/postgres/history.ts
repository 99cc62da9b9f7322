/**
 * One history of the log in a PostgreSQL database. Every statement proves the newest place that this node has seen, so
 * that a server with another history (a standby that lacked the last commits, a restored copy, whatever a pooler hides)
 * neither appends nor returns anything: the history then ends, and the log opens the next one (G13).
 */
import type pg from 'pg';
import type { Lineage, Place } from '../../log/place.ts';
import { laterOf } from '../../log/place.ts';
import type { AppendResult, History } from '../../log/store.ts';
import type { Runtime } from '../../runtime.ts';
import { storeFailed } from '../refusal.ts';
import { createPostgresAppender } from './append.ts';
import { toStoreError } from './connection.ts';
import { type LogHead, startHeadPoller } from './head-poller.ts';
import { prunePostgres } from './prune.ts';
import { createPostgresReader } from './reader.ts';
import type { ServerWatch } from './server-watch.ts';

export interface PostgresHistoryOptions {
  readonly url: string;
  /** Direct address for LISTEN; `undefined` polls only. */
  readonly listenUrl: string | undefined;
  /** For reading and pruning. */
  readonly pool: pg.Pool;
  readonly runtime: Runtime;
  /** Names this node in the terms that it opens. */
  readonly nodeId: string;
  /** Whether each commit sends a notification. */
  readonly notify: boolean;
  /** Says when the connections of the history may belong to a server that is lost. */
  readonly onServerLost: ServerWatch['onLost'];
  /** Called when another node may have appended. */
  readonly onWake: () => void;
  /** Called when another node asks all nodes, or shares entries. */
  readonly onPeers: () => void;
  readonly onError: (error: unknown) => void;
  readonly onNotice: (message: string) => void;
}

export async function openPostgresHistory(options: PostgresHistoryOptions): Promise<History> {
  const { pool, runtime } = options;
  const { lineage, head } = await readEnd(pool);
  const endListeners = new Set<() => void>();
  let seen = head;
  let hasEnded = false;

  const see = (place: Place): void => {
    seen = laterOf(seen, place);
  };
  /** Ends the history, once. Returns the error of the statement that was refused. */
  function end(): Error {
    if (!hasEnded) {
      hasEnded = true;
      for (const listener of [...endListeners]) {
        listener();
      }
    }
    return storeFailed('the database holds another history of the log');
  }

  const reader = createPostgresReader({ pool, lineage, seen: () => seen, onOtherHistory: end });
  const appender = createPostgresAppender({
    url: options.url,
    runtime,
    lineage,
    nodeId: options.nodeId,
    notify: options.notify,
    seen: () => seen,
    onSeen: see,
    onOtherHistory: end,
  });
  const poller = startHeadPoller({
    pool,
    runtime,
    listenUrl: options.listenUrl,
    lineage,
    seen: () => seen,
    onHead,
    onWake: options.onWake,
    onPeers: options.onPeers,
    isOwnBackend: (processId) => processId === appender.processId,
    onError: options.onError,
    onNotice: options.onNotice,
  });

  const stopDropping = options.onServerLost((_reason, serving) => {
    appender.dropConnection(serving);
    poller.dropConnection(serving);
  });

  function onHead(found: LogHead): void {
    if (!found.isHeld) {
      end();
    } else if (found.position > seen.position) {
      see({ lineage, position: found.position, tag: found.tag });
      options.onWake();
    }
  }

  async function reading<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw toStoreError(error);
    }
  }

  const seeResult = (result: AppendResult): AppendResult => {
    for (const outcome of result.outcomes) {
      if ('receipts' in outcome) {
        outcome.receipts.forEach(see);
      }
    }
    return result;
  };

  return {
    lineage,
    head,
    async append(requests) {
      const answer = await appender.append(requests);
      return 'pending' in answer ? { pending: answer.pending.then(seeResult) } : answer;
    },
    bounds: () => reading(reader.bounds()),
    readFeed: (accessId, position, limit) =>
      reading(reader.readFeed(accessId, position, { ...limit, head: seen.position })),
    async readLog(position, limit) {
      const events = await reading(reader.readLog(position, limit));
      events.slice(-1).forEach(see);
      return events;
    },
    lastPlace: (accessIds, through = Infinity) => reading(reader.lastPlace(accessIds, through)),
    firstSince: (accessId, createdAt) => reading(reader.firstSince(accessId, createdAt)),
    prunedThrough: (accessIds) => reading(reader.prunedThrough(accessIds)),
    cursorFacts: (accessIds, cursor) => reading(reader.cursorFacts(accessIds, cursor)),
    prune: (rule, signal) => reading(prunePostgres(pool, rule, signal)),
    onEnd(listener) {
      endListeners.add(listener);
      return () => endListeners.delete(listener);
    },
    close() {
      hasEnded = true;
      stopDropping();
      poller.stop();
      appender.close();
      return Promise.resolve();
    },
  };
}

/** Reads where the log ends: the places of the history begin there. */
async function readEnd(pool: pg.Pool): Promise<{ lineage: Lineage; head: Place }> {
  const { rows } = await pool.query<{ epoch: string; head: number; head_tag: number }>(
    'select epoch, head, head_tag from log',
  );
  const [log] = rows;
  if (log === undefined) {
    throw storeFailed('the table log has no row: the database is incomplete');
  }
  const lineage: Lineage = { epoch: log.epoch };
  return { lineage, head: { lineage, position: log.head, tag: log.head_tag } };
}
