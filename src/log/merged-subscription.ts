/**
 * Several access_ids read as one: their subscriptions moved forward together, in the order of the log. Like a single
 * subscription it holds places, and at most one page of each access_id (G2, G3, G7).
 */
import { type Event, eventBytes } from './event.ts';
import { CATCH_UP_LIMIT, type Subscription } from './subscription.ts';

interface Source {
  readonly subscription: Subscription;
  events: readonly Event[];
  nextIndex: number;
}

export interface MergedSubscriptionOptions {
  /** Each opened at the same position. */
  readonly subscriptions: readonly Subscription[];
  readonly position: number;
  /** Highest position that the tail has reached. */
  readonly head: () => number;
}

export function mergeSubscriptions(options: MergedSubscriptionOptions): Subscription {
  const sources: Source[] = options.subscriptions.map((subscription) => ({
    subscription,
    events: [],
    nextIndex: 0,
  }));
  let position = options.position;
  let isLive = false;

  /** The source whose next event comes first; `undefined` when none may be given now, a promise while one is read. */
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
    // A dry source has nothing up to the head. What the store shows beyond it waits until the tail has come there.
    return first !== undefined && hasEmptySource && nextPositionOf(first) > options.head()
      ? undefined
      : first;
  }

  function next(): ReturnType<Subscription['next']> {
    const events: Event[] = [];
    let bytes = 0;
    while (events.length < CATCH_UP_LIMIT.maxEvents && bytes < CATCH_UP_LIMIT.maxBytes) {
      const source = nextSource();
      if (source instanceof Promise) {
        // What was collected goes first; the page that is being read is there at the next call.
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
    position = Math.max(position, options.head());
    isLive = true;
    return undefined;
  }

  function advanceTo(events: readonly Event[]): readonly Event[] {
    position = events.at(-1)?.position ?? position;
    return events;
  }

  return {
    get position() {
      return position;
    },
    get isLive() {
      return isLive;
    },
    next,
    close() {
      for (const { subscription } of sources) {
        subscription.close();
      }
    },
  };
}

function refill(source: Source, events: readonly Event[] | undefined): void {
  source.events = events ?? [];
  source.nextIndex = 0;
}

function nextPositionOf(source: Source): number {
  return source.events[source.nextIndex]?.position ?? Infinity;
}
