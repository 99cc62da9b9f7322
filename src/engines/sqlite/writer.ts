/**
 * The main thread's side of the writer thread: one group of requests at a time, one round of pruning at a time. It handles
 * the replies in the order sent and without a pause between them, so that the recent positions here match the writer's.
 */
import type { Worker } from 'node:worker_threads';
import type { Lineage } from '../../log/place.ts';
import { RetentionRefused } from '../../log/retention.ts';
import type { AppendRequest, AppendResult, PruneRule } from '../../log/store.ts';
import type { Clock } from '../../runtime.ts';
import { columnsOf, outcomesOf } from '../group.ts';
import { outcomeUnknown, storeFailed } from '../refusal.ts';
import type { RecentPositions } from './recent-positions.ts';
import type { WriterMessage, WriterReply } from './thread-protocol.ts';

export interface SqliteWriter {
  /** Highest position that the writer has reported as committed. */
  readonly head: number;
  /** Why the writer has ended, if it has. */
  readonly failure: Error | undefined;
  append(requests: readonly AppendRequest[]): Promise<AppendResult>;
  /** Returns the number of events deleted. `signal` ends it after the present slice. */
  prune(rule: PruneRule, signal?: AbortSignal): Promise<number>;
  /** Asks the writer to start the write-ahead log from its beginning again. */
  restartWal(): void;
  /** Resolves when the thread has ended. */
  close(): Promise<void>;
}

type Pruned = Omit<WriterReply & { readonly type: 'pruned' }, 'type'>;

interface Waiting {
  readonly requests: readonly AppendRequest[];
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: Error) => void;
}

export type ReadyReply = WriterReply & { readonly type: 'ready' };

/** Resolves when the thread can take its first message. */
export function whenReady(thread: Worker): Promise<ReadyReply> {
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.once('message', (reply: WriterReply) => {
      thread.off('error', reject);
      if (reply.type === 'ready') {
        resolve(reply);
      } else {
        reject(new Error(`the writer thread began with ${reply.type}`));
      }
    });
  });
}

export interface SqliteWriterOptions {
  readonly thread: Worker;
  readonly lineage: Lineage;
  readonly headAtStart: number;
  readonly recent: RecentPositions;
  readonly clock: Pick<Clock, 'now'>;
  readonly onError: (error: unknown) => void;
  readonly onNotice: (message: string) => void;
  /** Called once when the thread can write no more. */
  readonly onFatal: (error: Error) => void;
}

export function createSqliteWriter(options: SqliteWriterOptions): SqliteWriter {
  const { thread, lineage, headAtStart, recent, clock, onError, onNotice, onFatal } = options;
  let head = headAtStart;
  let waiting: Waiting | undefined;
  let onPruned: ((reply: Pruned) => void) | undefined;
  let pruning: Promise<unknown> = Promise.resolve();
  let failure: Error | undefined;
  let isClosing = false;
  const ended = new Promise<void>((resolve) => {
    thread.once('exit', () => {
      fail(new Error('the writer thread has ended'));
      resolve();
    });
  });

  thread.on('error', (error) => {
    fail(new Error(`the writer thread failed: ${error.message}`, { cause: error }));
  });
  thread.on('message', (reply: WriterReply) => {
    switch (reply.type) {
      case 'appended':
        onAppended(reply);
        break;
      case 'frozen':
        recent.freeze();
        break;
      case 'indexed':
        recent.indexed(reply.through);
        break;
      case 'pruned':
        onPruned?.(reply);
        break;
      case 'fault':
        onError(new Error(reply.message));
        break;
      case 'notice':
        onNotice(reply.message);
        break;
      case 'fatal':
        fail(new Error(reply.message));
        break;
      case 'ready':
      case 'closed':
        break;
    }
  });

  function fail(error: Error): void {
    if (failure !== undefined) {
      return;
    }
    failure = error;
    // The thread may have committed the group before it ended.
    waiting?.reject(outcomeUnknown('its writer has ended', error));
    waiting = undefined;
    onPruned?.({ pruned: 0, failed: error.message });
    if (!isClosing) {
      onFatal(error);
    }
  }

  function onAppended(reply: WriterReply & { type: 'appended' }): void {
    if (waiting === undefined) {
      return;
    }
    const { requests, resolve } = waiting;
    waiting = undefined;
    head = reply.head;
    const { recordedAt } = reply;
    const outcomes = outcomesOf(requests, reply.receipts, { lineage, recordedAt });
    for (const outcome of outcomes) {
      if ('receipts' in outcome) {
        for (const { position, accessId, createdAt, duplicate } of outcome.receipts) {
          if (!duplicate) {
            recent.add(position, accessId, createdAt);
          }
        }
      }
    }
    resolve({ recordedAt, outcomes });
  }

  function post(message: WriterMessage): void {
    thread.postMessage(message);
  }

  function pruneNow(rule: PruneRule, signal: AbortSignal | undefined): Promise<number> {
    const stop = (): void => {
      post({ type: 'stop-pruning' });
    };
    return new Promise<number>((resolve, reject) => {
      onPruned = ({ pruned, failed, refused }) => {
        onPruned = undefined;
        if (failed !== undefined) {
          reject(storeFailed(failed));
        } else if (refused !== undefined) {
          reject(new RetentionRefused(refused, pruned));
        } else {
          resolve(pruned);
        }
      };
      if (failure !== undefined) {
        onPruned({ pruned: 0, failed: failure.message });
      } else if (signal?.aborted === true) {
        onPruned({ pruned: 0 });
      } else {
        post({ type: 'prune', rule, now: clock.now() });
        signal?.addEventListener('abort', stop);
      }
    }).finally(() => signal?.removeEventListener('abort', stop));
  }

  return {
    get head() {
      return head;
    },
    get failure() {
      return failure;
    },
    append(requests) {
      if (failure !== undefined) {
        return Promise.reject(storeFailed(failure.message));
      }
      return new Promise((resolve, reject) => {
        waiting = { requests, resolve, reject };
        post({ type: 'append', columns: columnsOf(requests) });
      });
    },
    prune(rule, signal) {
      const turn = pruning.then(() => pruneNow(rule, signal));
      pruning = turn.catch(() => 0);
      return turn;
    },
    restartWal() {
      post({ type: 'restart-wal' });
    },
    async close() {
      isClosing = true;
      if (failure === undefined) {
        post({ type: 'close' });
      } else {
        await thread.terminate();
      }
      await ended;
    },
  };
}
