/**
 * The main thread's side of the writer thread: one group of requests at a time, one round of pruning at a time. It handles
 * the replies in the order sent and without a pause between them, so that the recent positions here match the writer's.
 */
import type { Worker } from 'node:worker_threads';
import type { Lineage } from '../../log/place.ts';
import type { AppendRequest, AppendResult, PruneRule } from '../../log/store.ts';
import { columnsOf, outcomesOf } from '../group.ts';
import { storeFailed } from '../refusal.ts';
import type { RecentPositions } from './recent-positions.ts';
import type { WriterMessage, WriterReply } from './thread-protocol.ts';

export interface SqliteWriter {
  /** Highest position that the writer has reported as committed. */
  readonly head: number;
  append(requests: readonly AppendRequest[]): Promise<AppendResult>;
  /** Returns the number of events deleted. */
  prune(rule: PruneRule): Promise<number>;
  /** Asks the writer to start the write-ahead log from its beginning again. */
  restartWal(): void;
  /** Resolves when the thread has ended. */
  close(): Promise<void>;
}

interface Waiting {
  readonly requests: readonly AppendRequest[];
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: Error) => void;
}

/** Resolves with the head when the thread can take its first message. */
export function whenReady(thread: Worker): Promise<number> {
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.once('message', (reply: WriterReply) => {
      thread.off('error', reject);
      if (reply.type === 'ready') {
        resolve(reply.head);
      } else {
        reject(new Error(`the writer thread began with ${reply.type}`));
      }
    });
  });
}

export function createSqliteWriter({
  thread,
  lineage,
  headAtStart,
  recent,
  onError,
}: {
  readonly thread: Worker;
  readonly lineage: Lineage;
  readonly headAtStart: number;
  readonly recent: RecentPositions;
  readonly onError: (error: unknown) => void;
}): SqliteWriter {
  let head = headAtStart;
  let waiting: Waiting | undefined;
  let onPruned: ((pruned: number, failed: string | undefined) => void) | undefined;
  let pruning: Promise<unknown> = Promise.resolve();
  let failure: Error | undefined;
  const ended = new Promise<void>((resolve) => {
    thread.once('exit', () => {
      fail(new Error('the writer thread has ended'));
      resolve();
    });
  });

  thread.on('error', (error) => {
    onError(error);
    fail(error);
  });
  thread.on('message', (reply: WriterReply) => {
    if (reply.type === 'appended') {
      onAppended(reply);
    } else if (reply.type === 'frozen') {
      recent.freeze();
    } else if (reply.type === 'indexed') {
      recent.indexed(reply.through);
    } else if (reply.type === 'pruned') {
      onPruned?.(reply.pruned, reply.failed);
    }
  });

  function fail(error: Error): void {
    failure ??= error;
    waiting?.reject(failure);
    waiting = undefined;
    onPruned?.(0, failure.message);
  }

  function onAppended(reply: WriterReply & { type: 'appended' }): void {
    if (waiting === undefined) {
      return;
    }
    const { requests, resolve } = waiting;
    waiting = undefined;
    head = reply.head;
    const { positions, isDuplicate } = reply.receipts;
    const outcomes = outcomesOf(requests, reply.receipts, lineage);
    let index = 0;
    requests.forEach(({ events }, place) => {
      const isAppended = !reply.receipts.refusals.has(place);
      for (const { accessId } of events) {
        if (isAppended && isDuplicate[index] === 0) {
          recent.add(positions[index] ?? 0, accessId);
        }
        index += 1;
      }
    });
    resolve({ recordedAt: reply.recordedAt, outcomes });
  }

  function post(message: WriterMessage): void {
    thread.postMessage(message);
  }

  function pruneNow(rule: PruneRule): Promise<number> {
    return new Promise((resolve, reject) => {
      onPruned = (pruned, failed) => {
        onPruned = undefined;
        if (failed === undefined) {
          resolve(pruned);
        } else {
          reject(storeFailed(failed));
        }
      };
      if (failure === undefined) {
        post({ type: 'prune', rule });
      } else {
        onPruned(0, failure.message);
      }
    });
  }

  return {
    get head() {
      return head;
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
    prune(rule) {
      const turn = pruning.then(() => pruneNow(rule));
      pruning = turn.catch(() => 0);
      return turn;
    },
    restartWal() {
      post({ type: 'restart-wal' });
    },
    async close() {
      if (failure === undefined) {
        post({ type: 'close' });
      }
      await ended;
    },
  };
}
