/** The log in a PostgreSQL database: puts together the appender, the reader and the head poller. */
import type pg from 'pg';
import type { AppendResult, EventStore } from '../../log/store.ts';
import type { Runtime } from '../../runtime.ts';
import { createPostgresAppender } from './append.ts';
import { toStoreError } from './connection.ts';
import { type LogHead, startHeadPoller } from './head-poller.ts';
import { prunePostgres } from './prune.ts';
import { createPostgresReader } from './reader.ts';

export interface PostgresStoreOptions {
  readonly url: string;
  /** Direct address for LISTEN; `undefined` polls only. */
  readonly listenUrl: string | undefined;
  /** For reading and pruning. */
  readonly pool: pg.Pool;
  readonly runtime: Runtime;
  /** Whether each commit sends a notification. */
  readonly notify: boolean;
  /** Called when another node asks all nodes, or shares entries. */
  readonly onPeers: () => void;
  readonly onError: (error: unknown) => void;
  readonly onNotice: (message: string) => void;
}

export async function openPostgresStore(options: PostgresStoreOptions): Promise<EventStore> {
  const { url, pool, runtime } = options;
  const reader = createPostgresReader(pool);
  const start = await reader.bounds();
  /** Known to be committed: a page may report that it covers the log up to here. */
  let head = start.head;
  let epoch = start.epoch;
  const wakeListeners = new Set<() => void>();
  const resetListeners = new Set<() => void>();

  const wake = (): void => {
    for (const listener of wakeListeners) {
      listener();
    }
  };
  const appender = createPostgresAppender({
    url,
    runtime,
    notify: options.notify,
    onHead: (headAfter, epochFound) => {
      if (epochFound === epoch) {
        head = Math.max(head, headAfter);
      }
    },
  });
  const poller = startHeadPoller({
    pool,
    runtime,
    listenUrl: options.listenUrl,
    head: () => head,
    onHead,
    onWake: wake,
    onPeers: options.onPeers,
    isOwnBackend: (processId) => processId === appender.processId,
    onError: options.onError,
    onNotice: options.onNotice,
  });

  function onHead(found: LogHead, headBefore: number): void {
    if (found.epoch !== epoch || found.head < headBefore) {
      // The database holds another log now: it was restored, or replaced.
      epoch = found.epoch;
      head = found.head;
      for (const listener of resetListeners) {
        listener();
      }
    } else if (found.head > head) {
      wake();
    }
  }

  async function reading<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw toStoreError(error);
    }
  }

  return {
    async append(requests) {
      const answer = await appender.append(requests);
      if (!('pending' in answer)) {
        head = Math.max(head, lastOf(answer));
        return answer;
      }
      const later = async (): Promise<AppendResult> => {
        const result = await answer.pending;
        head = Math.max(head, lastOf(result));
        return result;
      };
      return { pending: later() };
    },
    bounds: () => reading(reader.bounds()),
    readFeed: (accessId, position, limit) => reading(reader.readFeed(accessId, position, { ...limit, head })),
    async readLog(position, limit) {
      const events = await reading(reader.readLog(position, limit));
      head = Math.max(head, events.at(-1)?.position ?? 0);
      return events;
    },
    lastPosition: (accessId) => reading(reader.lastPosition(accessId)),
    async positionBefore(accessId, createdAt) {
      const { head: before } = await reading(reader.bounds());
      return (await reading(reader.positionBefore(accessId, createdAt))) ?? before;
    },
    prunedThrough: (accessId) => reading(reader.prunedThrough(accessId)),
    prune: (rule, signal) => reading(prunePostgres(pool, rule, signal)),
    onWake(listener) {
      wakeListeners.add(listener);
      return () => wakeListeners.delete(listener);
    },
    onReset(listener) {
      resetListeners.add(listener);
      return () => resetListeners.delete(listener);
    },
    async close() {
      await poller.stop();
      appender.close();
    },
  };
}

function lastOf(result: AppendResult): number {
  let last = 0;
  for (const outcome of result.outcomes) {
    if ('receipts' in outcome) {
      for (const receipt of outcome.receipts) {
        last = Math.max(last, receipt.position);
      }
    }
  }
  return last;
}
