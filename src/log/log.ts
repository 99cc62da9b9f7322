/**
 * The event core: append, read, subscribe, and the check of a cursor. It connects the writer, the tail and
 * the subscriptions to the store of any engine.
 */
import type { Runtime } from '../runtime.ts';
import { encodeCursor, resolveCursor, tooOldError } from './cursor.ts';
import { mergeSubscriptions } from './merged-subscription.ts';
import type { AppendRequest, Bounds, EventStore, Page, PageLimit, PruneRule, Receipt } from './store.ts';
import { createSubscription, type Subscription } from './subscription.ts';
import { createTail, type TailLimits } from './tail.ts';
import { createWriter, type WriterCounts, type WriterLimits } from './writer.ts';

/** The start of a reader: after a cursor, at one end of the log, or at a publisher's time. */
export type Start = { readonly after: string } | { readonly createdAt: number };

/** The log of one process. */
export interface Log {
  /** Appends a batch atomically. Resolves after the batch is on disk (G1, G4). */
  append(request: AppendRequest): Promise<readonly Receipt[]>;
  /**
   * Returns the position after which a reader starts. `after` is a cursor, `"start"` or `"now"`. A time
   * resolves to the position before the first event with an equal or later `created_at`.
   * @throws ERR_CURSOR_…
   */
  resolve(accessId: string, start: Start): Promise<number>;
  /**
   * Reads one page after `position`.
   * @throws ERR_CURSOR_TOO_OLD if retention has deleted events after it
   */
  read(accessId: string, position: number, limit: PageLimit): Promise<Page>;
  /** Reads pages, then live events. Calls `onMore` when `next()` has events again. */
  subscribe(accessId: string, position: number, onMore: () => void): Subscription;
  /** Subscribes to several access_ids, in log order. */
  subscribeAll(accessIds: readonly string[], position: number, onMore: () => void): Subscription;
  /** Position of the last event of `accessId`; 0 if it has no events. */
  lastPosition(accessId: string): Promise<number>;
  bounds(): Promise<Bounds>;
  /** Deletes the events that the rule selects. Returns the number of deleted events. */
  prune(rule: PruneRule, signal?: AbortSignal): Promise<number>;
  /**
   * Calls `listener` when another log has replaced this one: the caller must disconnect every reader. Returns
   * a function that stops it.
   */
  onReset(listener: () => void): () => void;
  /** Encodes a position of this log as a cursor. */
  cursor(position: number): string;
  /** Highest position that this process knows to be committed. */
  readonly head: number;
  readonly queuedEvents: number;
  readonly counts: WriterCounts;
  /** Rejects new appends, and resolves after the accepted ones are answered. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** The store and the limits of a log. */
export interface LogOptions {
  /** The log owns the store: it closes the store, even if opening the log fails. */
  readonly store: EventStore;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** Receives failures of background work. */
  readonly onError?: (error: unknown) => void;
  /** Receives the duration of each commit. */
  readonly onCommitDuration?: (ms: number) => void;
  readonly writer?: WriterLimits;
  readonly tail?: TailLimits;
}

/** Opens the log on a store. */
export async function createLog(options: LogOptions): Promise<Log> {
  const { store, runtime, onError = () => undefined } = options;
  const { epoch: firstEpoch, head } = await openBounds(store);
  let epoch = firstEpoch;
  const resetListeners = new Set<() => void>();
  const tail = createTail({
    store,
    head,
    onError,
    ...(options.tail === undefined ? {} : { limits: options.tail }),
  });
  const writer = createWriter({
    store,
    runtime,
    onCommitted: tail.offer,
    ...(options.writer === undefined ? {} : { limits: options.writer }),
    ...(options.onCommitDuration === undefined ? {} : { onDuration: options.onCommitDuration }),
  });
  const stopWake = store.onWake(tail.wake);
  const stopReset = store.onReset(() => {
    reset().catch(onError);
  });

  /** Another log has replaced this one. Events read before must not be combined with events read after. */
  async function reset(): Promise<void> {
    const bounds = await store.bounds();
    epoch = bounds.epoch;
    tail.reset(bounds.head);
    for (const listener of resetListeners) {
      listener();
    }
  }

  /**
   * If retention has deleted events that a reader has not received, the reader gets an error and not a gap
   * (G6).
   */
  async function read(accessId: string, position: number, limit: PageLimit): Promise<Page> {
    const page = await store.readFeed(accessId, position, limit);
    if (page.prunedThrough > position) {
      throw tooOldError(epoch, page.prunedThrough);
    }
    return page;
  }

  function subscribe(accessId: string, position: number, onMore: () => void): Subscription {
    return createSubscription({ read, tail, accessId, position, onMore });
  }

  return {
    append: writer.append,
    async resolve(accessId, start) {
      if ('createdAt' in start) {
        return store.positionBefore(accessId, start.createdAt);
      }
      if (start.after === 'start') {
        return store.prunedThrough(accessId);
      }
      // The bounds are read first, so that a deletion between the two reads is detected.
      const bounds = await store.bounds();
      if (start.after === 'now') {
        return bounds.head;
      }
      return resolveCursor(start.after, bounds, await store.prunedThrough(accessId));
    },
    read,
    subscribe,
    subscribeAll: (accessIds, position, onMore) =>
      mergeSubscriptions({
        subscriptions: accessIds.map((accessId) => subscribe(accessId, position, onMore)),
        position,
        head: () => tail.head,
      }),
    lastPosition: (accessId) => store.lastPosition(accessId),
    bounds: () => store.bounds(),
    prune: (rule, signal) => store.prune(rule, signal),
    onReset(listener) {
      resetListeners.add(listener);
      return () => resetListeners.delete(listener);
    },
    cursor: (position) => encodeCursor(epoch, position),
    get head() {
      return tail.head;
    },
    get queuedEvents() {
      return writer.queuedEvents;
    },
    counts: writer.counts,
    drain: () => writer.drain(),
    async close() {
      await writer.drain();
      stopWake();
      stopReset();
      tail.close();
      await store.close();
    },
  };
}

async function openBounds(store: EventStore): Promise<Bounds> {
  try {
    return await store.bounds();
  } catch (error) {
    await store.close();
    throw error;
  }
}
