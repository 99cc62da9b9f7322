/**
 * The live end of the log in this process: a ring of the latest events, contiguous by position and bounded in
 * bytes. The commits of this process feed it. When other processes append, it reads the store. It accepts an
 * event if the position is `head + 1`, so the ring is a copy of the end of the log. A lost or repeated hint
 * costs latency and not an event (G3).
 */
import { eventBytes, type LogEvent } from './event.ts';
import { originOf, type Place } from './place.ts';
import type { History, PageLimit } from './store.ts';

/** Limits of the tail. */
export interface TailLimits {
  /** Maximum bytes of events in the ring. Default 32 MiB: about 60,000 events of 200 bytes. */
  readonly maxBytes: number;
}

/** The default limits. */
export const DEFAULT_TAIL_LIMITS: TailLimits = { maxBytes: 32 * 1024 * 1024 };

/** The latest events of the log in memory. */
export interface Tail {
  /** The last event that this process knows to be committed. */
  readonly head: Place;
  /** The ring contains the events after this position, up to `head`. */
  readonly floor: number;
  /** Accepts committed events, in ascending order and without gaps between them. */
  offer(events: readonly LogEvent[]): void;
  /** Reads the store, which may contain more events. After a failed read, the next call reads again. */
  wake(): void;
  /** Calls `listener` after events of `accessId` enter the ring. Returns a function that stops it. */
  follow(accessId: string, listener: () => void): () => void;
  /**
   * Returns the events of `accessId` after `position` in ascending order, up to `limit`; `undefined` if there
   * are none. The position must not be below `floor`. Subscribers at the same position receive the same
   * array, so that they can share a frame.
   */
  readAfter(accessId: string, position: number, limit: PageLimit): readonly LogEvent[] | undefined;
  /** Stops the tail. Its listeners are called no more. */
  close(): void;
}

/**
 * A queue in an array. Entries before `start` are removed and set to `undefined`, so that the queue holds no
 * memory for them.
 */
interface Queue {
  events: (LogEvent | undefined)[];
  start: number;
}

/** The events of one access_id in the ring, and the last returned page of them. */
interface FeedRing extends Queue {
  shared: SharedPage | undefined;
}

/** A page that subscribers at the same position receive. */
interface SharedPage {
  readonly events: readonly LogEvent[];
  /** The position after which the page was read, and the head of the log then. */
  readonly after: number;
  readonly head: number;
  readonly limit: PageLimit;
}

const READ_LIMIT: PageLimit = { maxEvents: 2_000, maxBytes: 4 * 1024 * 1024 };

/** The source and the limits of the tail. */
export interface TailOptions {
  readonly store: Pick<History, 'readLog'>;
  /** The end of the log when the tail starts. Subscriptions read earlier events from the store. */
  readonly head: Place;
  readonly onError: (error: unknown) => void;
  readonly limits?: TailLimits;
}

/** Creates an empty tail. */
export function createTail({ store, onError, limits = DEFAULT_TAIL_LIMITS, ...options }: TailOptions): Tail {
  let { head } = options;
  let floor = head.position;
  let bytes = 0;
  const ring: Queue = { events: [], start: 0 };
  const feeds = new Map<string, FeedRing>();
  const listeners = new Map<string, Set<() => void>>();
  let isReading = false;
  let isWoken = false;
  let isClosed = false;

  function accept(events: readonly LogEvent[]): void {
    if (isClosed) {
      return;
    }
    const changedFeeds = new Set<string>();
    for (const event of events) {
      if (event.position !== head.position + 1) {
        continue;
      }
      head = event;
      ring.events.push(event);
      bytes += eventBytes(event);
      const feed = feeds.get(event.accessId);
      if (feed === undefined) {
        feeds.set(event.accessId, { events: [event], start: 0, shared: undefined });
      } else {
        feed.events.push(event);
      }
      changedFeeds.add(event.accessId);
    }
    evict();
    for (const accessId of changedFeeds) {
      const feedListeners = listeners.get(accessId);
      if (feedListeners !== undefined) {
        for (const listener of [...feedListeners]) {
          listener();
        }
      }
    }
  }

  function evict(): void {
    while (bytes > limits.maxBytes) {
      const event = shift(ring);
      if (event === undefined) {
        break;
      }
      bytes -= eventBytes(event);
      floor = event.position;
      const feed = feeds.get(event.accessId);
      if (feed === undefined) {
        continue;
      }
      shift(feed);
      if (feed.shared?.events[0] === event) {
        feed.shared = undefined;
      }
      if (feed.start === feed.events.length) {
        feeds.delete(event.accessId);
      }
    }
  }

  /**
   * Accepts events read from the store after `head`. Retention causes a gap between them; the ring restarts
   * after the gap.
   */
  function acceptPage(events: readonly LogEvent[]): void {
    let start = 0;
    for (const [index, event] of events.entries()) {
      const previous = index === 0 ? head.position : (events[index - 1]?.position ?? 0);
      if (event.position <= previous + 1) {
        continue;
      }
      accept(events.slice(start, index));
      restartBefore(event);
      start = index;
    }
    accept(events.slice(start));
  }

  /** The events between the ring and this one are deleted. The place before it is replaced at once by its own. */
  function restartBefore(event: LogEvent): void {
    head = { ...originOf(event.lineage), position: event.position - 1 };
    floor = event.position - 1;
    bytes = 0;
    ring.events = [];
    ring.start = 0;
    feeds.clear();
  }

  /** Reads until the store has no more events. A wake-up during a read causes another read. */
  async function readStore(): Promise<void> {
    isReading = true;
    try {
      while (isWoken) {
        isWoken = false;
        for (;;) {
          const events = await store.readLog(head.position, READ_LIMIT);
          if (events.length === 0 || isClosed) {
            break;
          }
          acceptPage(events);
        }
      }
    } catch (error) {
      onError(error);
    } finally {
      isReading = false;
    }
  }

  function wake(): void {
    isWoken = true;
    if (!isReading && !isClosed) {
      void readStore();
    }
  }

  return {
    get head() {
      return head;
    },
    get floor() {
      return floor;
    },
    offer(events) {
      const first = events[0];
      if (first === undefined) {
        return;
      }
      if (first.position > head.position + 1) {
        wake();
      } else {
        accept(events);
      }
    },
    wake,
    follow(accessId, listener) {
      const feedListeners = listeners.get(accessId) ?? new Set();
      listeners.set(accessId, feedListeners);
      feedListeners.add(listener);
      return () => {
        feedListeners.delete(listener);
        if (feedListeners.size === 0 && listeners.get(accessId) === feedListeners) {
          listeners.delete(accessId);
        }
      };
    },
    readAfter(accessId, position, limit) {
      const feed = feeds.get(accessId);
      if (feed === undefined) {
        return undefined;
      }
      // Most subscribers of a feed are at the same position: they need no search.
      const { shared } = feed;
      if (shared?.after === position && shared.head === head.position && shared.limit === limit) {
        return shared.events;
      }
      const start = firstAfter(feed, position);
      const first = feed.events[start];
      if (first === undefined) {
        return undefined;
      }
      const end = endOfPage(feed.events, start, limit);
      const isShared = shared?.events[0] === first && shared.events.at(-1) === feed.events[end - 1];
      const events = isShared ? shared.events : (feed.events.slice(start, end) as LogEvent[]);
      feed.shared = { events, after: position, head: head.position, limit };
      return events;
    },
    close() {
      isClosed = true;
      listeners.clear();
    },
  };
}

function shift(queue: Queue): LogEvent | undefined {
  const event = queue.events[queue.start];
  if (event === undefined) {
    return undefined;
  }
  queue.events[queue.start] = undefined;
  queue.start += 1;
  if (queue.start > 64 && queue.start * 2 > queue.events.length) {
    queue.events = queue.events.slice(queue.start);
    queue.start = 0;
  }
  return event;
}

function firstAfter(feed: FeedRing, position: number): number {
  let low = feed.start;
  let high = feed.events.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const event = feed.events[middle];
    if (event !== undefined && event.position <= position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

function endOfPage(events: readonly (LogEvent | undefined)[], start: number, limit: PageLimit): number {
  let bytes = 0;
  let end = start;
  while (end < events.length && end - start < limit.maxEvents) {
    const event = events[end];
    if (event === undefined) {
      break;
    }
    bytes += eventBytes(event);
    if (end > start && bytes > limit.maxBytes) {
      break;
    }
    end += 1;
  }
  return end;
}
