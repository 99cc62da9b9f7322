/**
 * Appends to the log through a bounded queue with group commit. During a commit, later requests wait in the
 * queue. The next transaction takes the waiting requests, and they share its flush (G1). Each caller receives
 * its own result: a refused batch does not affect the others (G4, G8).
 */
import { drainingError, LastseenError } from '../errors.ts';
import { nextTurn, type Runtime } from '../runtime.ts';
import type { LogEvent } from './event.ts';
import type { AppendOutcome, AppendRequest, AppendResult, History, Receipt } from './store.ts';

/** Limits of the queue and of one commit. */
export interface WriterLimits {
  /** Maximum number of queued events. Default 200,000: about 1 s of work for the fastest measured engine. */
  readonly maxQueuedEvents: number;
  /** Maximum number of queued payload characters. Default 128 Mi. */
  readonly maxQueuedCharacters: number;
  /**
   * Maximum number of events in one commit. A single larger batch is committed whole. Default 4,000: about 20
   * ms of engine time.
   */
  readonly maxCommitEvents: number;
}

/** The default limits. */
export const DEFAULT_WRITER_LIMITS: WriterLimits = {
  maxQueuedEvents: 200_000,
  maxQueuedCharacters: 128 * 1024 * 1024,
  maxCommitEvents: 4_000,
};

/** Totals since the process started. */
export interface WriterCounts {
  /** Acknowledged batches, including those that contain only duplicates. */
  readonly batches: number;
  readonly appendedEvents: number;
  /** Acknowledged events that the log contained before. */
  readonly duplicateEvents: number;
  /** Commits that failed or whose outcome is unknown. */
  readonly failedCommits: number;
}

/** The writer of one process. */
export interface Writer {
  /**
   * Appends a batch atomically.
   * @throws ERR_QUEUE_FULL, ERR_ID_CONFLICT, ERR_STORE_UNAVAILABLE, ERR_OUTCOME_UNKNOWN, ERR_DRAINING
   */
  append(request: AppendRequest): Promise<readonly Receipt[]>;
  /** Number of events in the queue and in the current commit. */
  readonly queuedEvents: number;
  /** Totals since the process started. */
  readonly counts: WriterCounts;
  /** Rejects new requests, and resolves after the accepted ones are answered. */
  drain(): Promise<void>;
}

interface QueuedRequest {
  readonly request: AppendRequest;
  readonly characters: number;
  readonly resolve: (receipts: readonly Receipt[]) => void;
  readonly reject: (error: Error) => void;
}

/** The store, the limits and the listeners of a writer. */
export interface WriterOptions {
  readonly store: Pick<History, 'append'>;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** Receives each appended event in position order, before the callers receive their results. */
  readonly onCommitted: (events: readonly LogEvent[]) => void;
  readonly limits?: WriterLimits;
  /** Receives the duration of each commit in milliseconds, including failed commits. */
  readonly onDuration?: (ms: number) => void;
}

/** Creates a writer with an empty queue. */
export function createWriter(options: WriterOptions): Writer {
  const { store, runtime, onCommitted, limits = DEFAULT_WRITER_LIMITS, onDuration } = options;
  const counts = { batches: 0, appendedEvents: 0, duplicateEvents: 0, failedCommits: 0 };
  let queue: QueuedRequest[] = [];
  let queuedEvents = 0;
  let queuedCharacters = 0;
  let isDraining = false;
  let running: Promise<void> | undefined;
  const pending = new Set<Promise<void>>();

  async function run(): Promise<void> {
    // Requests that arrive in the same turn of the event loop share the first commit.
    await nextTurn(runtime.timers);
    while (queue.length > 0) {
      const group = takeGroup();
      const startedAt = runtime.clock.steady();
      try {
        const answer = await store.append(group.map((queued) => queued.request));
        if ('pending' in answer) {
          acknowledgeLater(group, answer.pending);
        } else {
          acknowledge(group, answer);
        }
      } catch (error) {
        rejectAll(group, error);
      }
      onDuration?.(runtime.clock.steady() - startedAt);
    }
    running = undefined;
  }

  /**
   * The connection to the store was lost during the commit. Later requests do not wait for the outcome of
   * this group.
   */
  function acknowledgeLater(group: readonly QueuedRequest[], result: Promise<AppendResult>): void {
    const settled = result
      .then(
        (done) => {
          acknowledge(group, done);
        },
        (error: unknown) => {
          rejectAll(group, error);
        },
      )
      .finally(() => pending.delete(settled));
    pending.add(settled);
  }

  function rejectAll(group: readonly QueuedRequest[], error: unknown): void {
    counts.failedCommits += 1;
    for (const queued of group) {
      queued.reject(outcomeError(error));
    }
    release(group);
  }

  function release(group: readonly QueuedRequest[]): void {
    for (const queued of group) {
      queuedEvents -= queued.request.events.length;
      queuedCharacters -= queued.characters;
    }
  }

  function takeGroup(): QueuedRequest[] {
    let events = 0;
    let count = 0;
    for (const queued of queue) {
      if (count > 0 && events + queued.request.events.length > limits.maxCommitEvents) {
        break;
      }
      events += queued.request.events.length;
      count += 1;
    }
    const group = queue.slice(0, count);
    queue = queue.slice(count);
    return group;
  }

  function acknowledge(group: readonly QueuedRequest[], result: AppendResult): void {
    const events: LogEvent[] = [];
    for (const outcome of result.outcomes) {
      if (!('receipts' in outcome)) {
        continue;
      }
      for (const receipt of outcome.receipts) {
        if (!receipt.duplicate) {
          events.push(receipt);
        }
      }
      counts.batches += 1;
      counts.duplicateEvents += outcome.receipts.length;
    }
    counts.appendedEvents += events.length;
    counts.duplicateEvents -= events.length;
    if (events.length > 0) {
      onCommitted(events);
    }
    group.forEach((queued, index) => settle(queued, result.outcomes[index]));
    release(group);
  }

  return {
    get queuedEvents() {
      return queuedEvents;
    },
    counts,
    append(request) {
      if (isDraining) {
        return Promise.reject(drainingError());
      }
      let characters = 0;
      for (const event of request.events) {
        characters += event.payload.length;
      }
      const isFull =
        queue.length > 0 &&
        (queuedEvents + request.events.length > limits.maxQueuedEvents ||
          queuedCharacters + characters > limits.maxQueuedCharacters);
      if (isFull) {
        const message = `nothing was appended: the queue is full with ${queuedEvents} events. Retry later`;
        return Promise.reject(new LastseenError('ERR_QUEUE_FULL', message));
      }
      return new Promise((resolve, reject) => {
        queue.push({ request, characters, resolve, reject });
        queuedEvents += request.events.length;
        queuedCharacters += characters;
        running ??= run();
      });
    },
    async drain() {
      isDraining = true;
      await running;
      await Promise.all(pending);
    },
  };
}

function settle(queued: QueuedRequest, outcome: AppendOutcome | undefined): void {
  if (outcome === undefined) {
    queued.reject(new Error('the engine returned no outcome for a request'));
  } else if ('refused' in outcome) {
    queued.reject(outcome.refused);
  } else {
    queued.resolve(outcome.receipts);
  }
}

/** An engine says “nothing was appended” with an error of its own. After any other failure nobody knows (G14). */
function outcomeError(error: unknown): Error {
  if (error instanceof LastseenError) {
    return error;
  }
  const message =
    'the store failed, and did not say whether it has appended the events: push again with the same ids or Idempotency-Key';
  return new LastseenError('ERR_OUTCOME_UNKNOWN', message, { cause: error });
}
