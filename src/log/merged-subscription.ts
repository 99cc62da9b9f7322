/**
 * Merges the subscriptions of several access_ids into one, in log order. It keeps a position and at most one
 * page for each access_id (G2, G3, G7).
 */
import { eventBytes, type LogEvent } from './event.ts';
import { laterOf, type Place } from './place.ts';
import { CATCH_UP_LIMIT, type Subscription } from './subscription.ts';

interface Source {
  readonly subscription: Subscription;
  events: readonly LogEvent[];
  nextIndex: number;
}

/** The subscriptions to merge. */
export interface MergedSubscriptionOptions {
  /** Subscriptions that start at the same place. */
  readonly subscriptions: readonly Subscription[];
  readonly start: Place;
  /** Returns the highest position that the tail has reached. */
  readonly head: () => number;
}

/** Merges subscriptions in log order. */
export function mergeSubscriptions(options: MergedSubscriptionOptions): Subscription {
  const sources: Source[] = options.subscriptions.map((subscription) => ({
    subscription,
    events: [],
    nextIndex: 0,
  }));
  let place = options.start;
  let isLive = false;

  /**
   * Returns the source with the lowest next position. Returns `undefined` if no event may be delivered now,
   * and a promise while a page is read.
   */
  function nextSource(): Source | undefined | Promise<void> {
    let first: Source | undefined;
    let hasEmptySource = false;
    for (const source of sources) {
      if (source.nextIndex === source.events.length) {
        const read = source.subscription.next();
        if (read instanceof Promise) {
          return read.then((events) => {
            refill(source, events);
          });
        }
        refill(source, read);
      }
      if (source.nextIndex === source.events.length) {
        hasEmptySource = true;
      } else if (first === undefined || nextPositionOf(source) < nextPositionOf(first)) {
        first = source;
      }
    }
    // A source without events has none up to the head. An event beyond the head waits until the tail reaches
    // it.
    return first !== undefined && hasEmptySource && nextPositionOf(first) > options.head()
      ? undefined
      : first;
  }

  function next(): ReturnType<Subscription['next']> {
    const events: LogEvent[] = [];
    let bytes = 0;
    while (events.length < CATCH_UP_LIMIT.maxEvents && bytes < CATCH_UP_LIMIT.maxBytes) {
      const source = nextSource();
      if (source instanceof Promise) {
        // The collected events are returned first. The next call returns the page that is being read.
        return source.then(() => (events.length > 0 ? advanceTo(events) : next()));
      }
      const event = source?.events[source.nextIndex];
      if (source === undefined || event === undefined) {
        break;
      }
      source.nextIndex += 1;
      events.push(event);
      bytes += eventBytes(event);
    }
    if (events.length > 0) {
      return advanceTo(events);
    }
    isLive = true;
    return undefined;
  }

  function advanceTo(events: readonly LogEvent[]): readonly LogEvent[] {
    place = laterOf(place, events.at(-1) ?? place);
    isLive ||= isAtEnd();
    return events;
  }

  function isAtEnd(): boolean {
    return sources.every(
      ({ subscription, events, nextIndex }) => nextIndex === events.length && subscription.isAtEnd,
    );
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
    close() {
      for (const { subscription } of sources) {
        subscription.close();
      }
    },
  };
}

function refill(source: Source, events: readonly LogEvent[] | undefined): void {
  source.events = events ?? [];
  source.nextIndex = 0;
}

function nextPositionOf(source: Source): number {
  return source.events[source.nextIndex]?.position ?? Infinity;
}
