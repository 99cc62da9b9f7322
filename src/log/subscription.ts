/**
 * A subscription is a cursor that moves forward. It reads pages of the store until it reaches the tail, then
 * the ring of the tail. If it falls behind the ring, it reads the store again. Each step reads “the events
 * after this position” from one source, so the hand-over has no gap and no repeat (G3). A slow reader costs a
 * position and not a buffer (G7).
 */
import type { LogEvent } from './event.ts';
import type { Place } from './place.ts';
import type { History, PageLimit } from './store.ts';
import type { Tail } from './tail.ts';

/** A reader of one or several access_ids. */
export interface Subscription {
  /** Place of the last returned event, or the start. */
  readonly place: Place;
  /** True after the reader has reached the tail. */
  readonly isLive: boolean;
  /** True if the log has no further events for the reader now: `next()` would return `undefined`. */
  readonly isAtEnd: boolean;
  /**
   * Returns the next events in ascending order: as an array from memory, as a promise from the store. Returns
   * `undefined` if there are none; the subscription calls `onMore` when there are events again. Make one call
   * at a time.
   * @throws ERR_CURSOR_TOO_OLD if retention has deleted events that the reader has not received,
   *   ERR_LOG_REPLACED if the log now holds another history
   */
  next(): readonly LogEvent[] | undefined | Promise<readonly LogEvent[] | undefined>;
  close(): void;
}

/** Maximum size of a page during catch-up. A page becomes one frame. */
export const CATCH_UP_LIMIT: PageLimit = { maxEvents: 1_000, maxBytes: 256 * 1024 };

/** Subscribes to one access_id. */
export function createSubscription(options: {
  /**
   * Reads one page of the store.
   * @throws ERR_CURSOR_TOO_OLD if retention has deleted events after the position
   */
  readonly read: History['readFeed'];
  readonly tail: Tail;
  /** Throws if the history of the subscription has ended. */
  readonly requireCurrent: () => void;
  readonly accessId: string;
  /** Exclusive start, in the history of `read` and `tail`. */
  readonly start: Place;
  readonly onMore: () => void;
  readonly limit?: PageLimit;
}): Subscription {
  const { read, tail, accessId, requireCurrent, limit = CATCH_UP_LIMIT } = options;
  /** The reader has received every event of the access_id up to this position. */
  let covered = options.start.position;
  let place = options.start;
  let isLive = false;
  const stopFollowing = tail.follow(accessId, options.onMore);

  function advanceTo(events: readonly LogEvent[]): readonly LogEvent[] {
    const last = events.at(-1);
    if (last !== undefined) {
      place = last;
      covered = Math.max(covered, last.position);
      isLive ||= isAtEnd();
    }
    return events;
  }

  function isAtEnd(): boolean {
    return covered >= tail.head.position;
  }

  function next(): ReturnType<Subscription['next']> {
    requireCurrent();
    if (covered < tail.floor) {
      return readStore();
    }
    const events = isAtEnd() ? undefined : tail.readAfter(accessId, covered, limit);
    if (events !== undefined) {
      return advanceTo(events);
    }
    covered = Math.max(covered, tail.head.position);
    isLive = true;
    return undefined;
  }

  async function readStore(): Promise<readonly LogEvent[] | undefined> {
    while (covered < tail.floor) {
      const page = await read(accessId, covered, limit);
      if (page.through <= covered) {
        throw new Error(`a page after position ${covered} did not move forward`);
      }
      covered = page.through;
      if (page.events.length > 0) {
        return advanceTo(page.events);
      }
    }
    return next();
  }

  return {
    get place() {
      return place;
    },
    get isLive() {
      return isLive;
    },
    get isAtEnd() {
      return isAtEnd();
    },
    next,
    close: stopFollowing,
  };
}
