/**
 * A subscription is a cursor that moves forward: in pages through the store until it has met the tail, then through
 * the tail's ring, and back to the store if it falls behind the ring. It never joins two sources by hand; every
 * step is “the events after this position”, so the hand-over can have no gap and no repeat (G3), and a slow reader
 * costs a position, not a buffer (G7).
 */
import type { Event } from './event.ts';
import type { EventStore, PageLimit } from './store.ts';
import type { Tail } from './tail.ts';

export interface Subscription {
  /** Place of the last event handed out, or the start. */
  readonly position: number;
  /** True once the reader has had everything up to the tail. */
  readonly isLive: boolean;
  /**
   * The next events, ascending: at once when they are in memory, by promise when the store must be read,
   * `undefined` when there are none now (the `onMore` given at the start is called when there are).
   * One call at a time. @throws ERR_CURSOR_TOO_OLD when retention has overtaken the reader
   */
  next(): readonly Event[] | undefined | Promise<readonly Event[] | undefined>;
  close(): void;
}

/** A page of catch-up: a frame's worth. */
export const CATCH_UP_LIMIT: PageLimit = { maxEvents: 1_000, maxBytes: 256 * 1024 };

export function createSubscription(options: {
  /** One page of the store. @throws ERR_CURSOR_TOO_OLD when events after the position are gone */
  readonly read: EventStore['readFeed'];
  readonly tail: Tail;
  readonly accessId: string;
  /** Exclusive start. */
  readonly position: number;
  readonly onMore: () => void;
  readonly limit?: PageLimit;
}): Subscription {
  const { read, tail, accessId, limit = CATCH_UP_LIMIT } = options;
  /** Everything of the access_id up to here was handed out. */
  let covered = options.position;
  let position = options.position;
  let isLive = false;
  const stopFollowing = tail.follow(accessId, options.onMore);

  function advanceTo(events: readonly Event[]): readonly Event[] {
    const last = events.at(-1);
    if (last !== undefined) {
      position = last.position;
      covered = Math.max(covered, last.position);
    }
    return events;
  }

  function next(): ReturnType<Subscription['next']> {
    if (covered < tail.floor) {
      return readStore();
    }
    const events = tail.readAfter(accessId, covered, limit);
    if (events !== undefined) {
      return advanceTo(events);
    }
    covered = Math.max(covered, tail.head);
    isLive = true;
    return undefined;
  }

  async function readStore(): Promise<readonly Event[] | undefined> {
    while (covered < tail.floor) {
      const page = await read(accessId, covered, limit);
      covered = Math.max(covered, page.through);
      if (page.events.length > 0) {
        return advanceTo(page.events);
      }
    }
    return next();
  }

  return {
    get position() {
      return position;
    },
    get isLive() {
      return isLive;
    },
    next,
    close: stopFollowing,
  };
}
