/**
 * The event core as the rest of the house sees it: append, read, subscribe, and the verdict on a cursor. It puts
 * together the writer, the tail and subscriptions over any engine's store.
 */
import type { Runtime } from '../runtime.ts';
import { encodeCursor, resolveCursor, tooOldError } from './cursor.ts';
import { mergeSubscriptions } from './merged-subscription.ts';
import type { AppendRequest, Bounds, EventStore, Page, PageLimit, PruneRule, Receipt } from './store.ts';
import { createSubscription, type Subscription } from './subscription.ts';
import { createTail, type TailLimits } from './tail.ts';
import { createWriter, type WriterCounts, type WriterLimits } from './writer.ts';

/** Where a reader wants to start: after a cursor, at an end of the log, or by the publisher's time. */
export type Start = { readonly after: string } | { readonly createdAt: number };

export interface Log {
  /** Appends a batch whole or not at all, and resolves once it is on disk (G1, G4). */
  append(request: AppendRequest): Promise<readonly Receipt[]>;
  /**
   * The position a reader starts from. `after` is a cursor, `"start"` or `"now"`; a time is resolved once, to the
   * place before the first event with `created_at` at or after it. @throws ERR_CURSOR_…
   */
  resolve(accessId: string, start: Start): Promise<number>;
  /** One page after `position`. @throws ERR_CURSOR_TOO_OLD when events after it are gone */
  read(accessId: string, position: number, limit: PageLimit): Promise<Page>;
  /** Pages, then live. `onMore` is called when `next()` has something again. */
  subscribe(accessId: string, position: number, onMore: () => void): Subscription;
  /** The same for several access_ids at once, in the order of the log. */
  subscribeAll(accessIds: readonly string[], position: number, onMore: () => void): Subscription;
  /** Position of the last event of `accessId`, 0 if it never had one. */
  lastPosition(accessId: string): Promise<number>;
  bounds(): Promise<Bounds>;
  /** Forgets what the rule gives up; returns the number of events forgotten. */
  prune(rule: PruneRule): Promise<number>;
  /** Calls `listener` when the log was replaced by another: every reader must be sent away. Returns how to stop. */
  onReset(listener: () => void): () => void;
  /** The wire form of a position in this log. */
  cursor(position: number): string;
  /** Highest position this process knows to be committed. */
  readonly head: number;
  readonly queuedEvents: number;
  readonly counts: WriterCounts;
  /** Takes no more appends, answers those it has. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export interface LogOptions {
  /** The log takes the store over and closes it, also when it cannot be opened. */
  readonly store: EventStore;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** Told of failures that have no caller, for the operator's log. */
  readonly onError?: (error: unknown) => void;
  /** Told how long each commit took. */
  readonly onCommitDuration?: (ms: number) => void;
  readonly writer?: WriterLimits;
  readonly tail?: TailLimits;
}

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

  /** The log is another one now: nothing that was read before may be joined with what comes. */
  async function reset(): Promise<void> {
    const bounds = await store.bounds();
    epoch = bounds.epoch;
    tail.reset(bounds.head);
    for (const listener of resetListeners) {
      listener();
    }
  }

  /** What retention takes from under a slow reader is a verdict, not a gap (G6). */
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
      // The verdict is given by what is gone after the bounds were read: what goes meanwhile is seen.
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
    prune: (rule) => store.prune(rule),
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
