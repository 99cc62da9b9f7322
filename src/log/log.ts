/**
 * The event core as the rest of the house sees it: append, read, subscribe, and the verdict on a cursor. It puts
 * together the writer, the tail and subscriptions over any engine's store.
 */
import { encodeCursor, resolveCursor } from './cursor.ts';
import type { AppendRequest, Bounds, EventStore, Page, PageLimit, Receipt } from './store.ts';
import { createSubscription, type Subscription } from './subscription.ts';
import { createTail, type TailLimits } from './tail.ts';
import { createWriter, type WriterLimits } from './writer.ts';

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
  /** One page after `position`. */
  read(accessId: string, position: number, limit: PageLimit): Promise<Page>;
  /** Pages, then live. `onMore` is called when `next()` has something again. */
  subscribe(accessId: string, position: number, onMore: () => void): Subscription;
  /** Position of the last event of `accessId`, 0 if it never had one. */
  lastPosition(accessId: string): Promise<number>;
  bounds(): Promise<Bounds>;
  /** The wire form of a position in this log. */
  cursor(position: number): string;
  /** Highest position this process knows to be committed. */
  readonly head: number;
  readonly queuedEvents: number;
  /** Takes no more appends, answers those it has. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export interface LogOptions {
  readonly store: EventStore;
  /** Told of failures that have no caller, for the operator's log. */
  readonly onError?: (error: unknown) => void;
  readonly writer?: WriterLimits;
  readonly tail?: TailLimits;
}

export async function createLog(options: LogOptions): Promise<Log> {
  const { store, onError = () => undefined } = options;
  const { epoch, head } = await store.bounds();
  const tail = createTail(store, head, onError, options.tail);
  const writer = createWriter(store, tail.offer, options.writer);
  const stopWake = store.onWake(tail.wake);

  return {
    append: writer.append,
    async resolve(accessId, start) {
      const bounds = await store.bounds();
      if ('createdAt' in start)
        return Math.max(await store.positionBefore(accessId, start.createdAt), bounds.floor - 1);
      if (start.after === 'start') return bounds.floor - 1;
      if (start.after === 'now') return bounds.head;
      return resolveCursor(start.after, bounds);
    },
    read: (accessId, position, limit) => store.readFeed(accessId, position, limit),
    subscribe: (accessId, position, onMore) =>
      createSubscription({ store, tail, accessId, position, onMore }),
    lastPosition: (accessId) => store.lastPosition(accessId),
    bounds: () => store.bounds(),
    cursor: (position) => encodeCursor(epoch, position),
    get head() {
      return tail.head;
    },
    get queuedEvents() {
      return writer.queuedEvents;
    },
    drain: () => writer.drain(),
    async close() {
      await writer.drain();
      stopWake();
      tail.close();
      await store.close();
    },
  };
}
