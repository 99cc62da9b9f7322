/**
 * The main thread's side of the writer thread: one group of requests at a time, one round of pruning at a time. What the
 * writer answers is handled in the order sent and without a pause, so that the memory of recent positions follows the
 * writer's.
 */
import type { Worker } from 'node:worker_threads';
import { LastseenError } from '../../errors.ts';
import type { AppendOutcome, AppendRequest, AppendResult, PruneRule } from '../../log/store.ts';
import { changedMeanwhile, conflict } from '../refusal.ts';
import type { RecentPositions } from './recent-positions.ts';
import {
  columnsOf,
  type ReceiptColumns,
  type Refusal,
  type WriterMessage,
  type WriterReply,
} from './thread-protocol.ts';

export interface SqliteWriter {
  /** Highest position that the writer has reported as committed. */
  readonly head: number;
  append(requests: readonly AppendRequest[]): Promise<AppendResult>;
  /** Returns the number of events deleted. */
  prune(rule: PruneRule): Promise<number>;
  /** Asks the writer to begin the write-ahead log anew. */
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
  headAtStart,
  recent,
  onError,
}: {
  readonly thread: Worker;
  readonly headAtStart: number;
  readonly recent: RecentPositions;
  readonly onError: (error: unknown) => void;
}): SqliteWriter {
  let head = headAtStart;
  let waiting: Waiting | undefined;
  let onPruned: ((forgotten: number, failed: string | undefined) => void) | undefined;
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
      onPruned?.(reply.forgotten, reply.failed);
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
    let from = 0;
    const outcomes = requests.map((request, at) => {
      const outcome = outcomeOf(request, reply.receipts.refusals.get(at), reply.receipts, from);
      if ('receipts' in outcome) {
        request.events.forEach((event, index) => {
          if (isDuplicate[from + index] === 0) {
            recent.add(positions[from + index] ?? 0, event.accessId);
          }
        });
      }
      from += request.events.length;
      return outcome;
    });
    resolve({ recordedAt: reply.recordedAt, outcomes });
  }

  function post(message: WriterMessage): void {
    thread.postMessage(message);
  }

  function pruneNow(rule: PruneRule): Promise<number> {
    return new Promise((resolve, reject) => {
      onPruned = (forgotten, failed) => {
        onPruned = undefined;
        if (failed === undefined) {
          resolve(forgotten);
        } else {
          reject(unavailable(failed));
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
        return Promise.reject(unavailable(failure.message));
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

function outcomeOf(
  request: AppendRequest,
  refusal: Refusal | undefined,
  { positions, versions, isDuplicate }: ReceiptColumns,
  from: number,
): AppendOutcome {
  if (refusal !== undefined) {
    if ('failed' in refusal) {
      return { refused: unavailable(refusal.failed) };
    }
    return {
      refused: 'changed' in refusal ? changedMeanwhile() : conflict(request, refusal.conflict.index),
    };
  }
  return {
    receipts: request.events.map((_, index) => ({
      position: positions[from + index] ?? 0,
      version: versions[from + index] ?? 0,
      duplicate: isDuplicate[from + index] === 1,
    })),
  };
}

function unavailable(reason: string): LastseenError {
  return new LastseenError(
    'ERR_STORE_UNAVAILABLE',
    `the store failed (${reason}): nothing was appended, try again later`,
  );
}
