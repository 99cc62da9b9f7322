/**
 * What the users socket tells of: the service's own feed of users, and the feed of files and buckets that applications
 * push. A reader moves through both at once in the order of the log, as a subscription does through one (G2, G3).
 */
import { LastseenError } from '../../errors.ts';
import { USERS } from '../../identity/feeds.ts';
import { memberSpan } from '../../json-text.ts';
import type { Event } from '../../log/event.ts';
import type { Log } from '../../log/log.ts';
import { type EventName, subjectField } from './codec.ts';

/** Where applications push what happened to files and buckets. */
export const EVENTS = 'users-socket:events';

const FEEDS = [USERS, EVENTS];

/** An event that is told, and whose it is. */
export interface UserEvent {
  readonly name: EventName;
  readonly userId: string;
  /** Text of the file or bucket, as it was pushed. */
  readonly subject: string | undefined;
}

/** What happens to users, in the words of the wire. The rest of `$users` is not told. */
const TOLD = new Map<unknown, EventName>([
  ['registered', 'Activated'],
  ['logged_in', 'Login'],
  ['logged_out', 'Logout'],
  ['removed', 'Removed'],
]);

const PUSHED: readonly EventName[] = ['FileUploaded', 'FileRemoved', 'BucketUploaded', 'BucketRemoved'];

/** Every socket looks at every event, so each is taken apart once. */
const known = new WeakMap<Event, UserEvent | null>();

/** `undefined` for what is not told, and for pushed events of another shape. */
export function userEventOf(event: Event): UserEvent | undefined {
  let found = known.get(event);
  if (found === undefined) {
    found = read(event) ?? null;
    known.set(event, found);
  }
  return found ?? undefined;
}

function read({ accessId, payload }: Event): UserEvent | undefined {
  const value = JSON.parse(payload) as unknown;
  if (typeof value !== 'object' || value === null) {
    return undefined;
  }
  const { type, id, user } = value as Record<string, unknown>;
  if (accessId === USERS) {
    const name = TOLD.get(type);
    return name === undefined || typeof id !== 'string'
      ? undefined
      : { name, userId: id, subject: undefined };
  }
  const name = PUSHED.find((one) => one === type);
  if (name === undefined || typeof user !== 'string') {
    return undefined;
  }
  const span = memberSpan(payload, 0, subjectField(name));
  return span && { name, userId: user, subject: payload.slice(span.start, span.end) };
}

export interface FeedReader {
  /**
   * The next event; `undefined` when everything up to the log's head was given; a promise when the store must be read:
   * ask again then. @throws ERR_CURSOR_TOO_OLD when retention has overtaken the reader
   */
  next(): Event | undefined | Promise<void>;
  close(): void;
}

/** Begins after `position`. `onMore` is called when there is something again. */
export function openFeed(log: Log, position: number, onMore: () => void): FeedReader {
  const sources = FEEDS.map((accessId) => ({
    subscription: log.subscribe(accessId, position, onMore),
    events: [] as readonly Event[],
    at: 0,
  }));
  return {
    next() {
      let first: (typeof sources)[number] | undefined;
      let isOneDry = false;
      for (const source of sources) {
        if (source.at === source.events.length) {
          const found = source.subscription.next();
          if (found instanceof Promise) {
            return found.then((events = []) => {
              source.events = events;
              source.at = 0;
            });
          }
          source.events = found ?? [];
          source.at = 0;
        }
        const event = source.events[source.at];
        if (event === undefined) {
          isOneDry = true;
        } else if (first === undefined || event.position < placeOf(first)) {
          first = source;
        }
      }
      // A dry source has nothing up to the head. What the store showed beyond it waits until the tail has come there.
      if (first === undefined || (isOneDry && placeOf(first) > log.head)) {
        return undefined;
      }
      const event = first.events[first.at];
      first.at += 1;
      return event;
    },
    close() {
      for (const { subscription } of sources) {
        subscription.close();
      }
    },
  };
}

function placeOf(source: { readonly events: readonly Event[]; readonly at: number }): number {
  return source.events[source.at]?.position ?? Infinity;
}

/**
 * Where a reader of both feeds begins. `start` is the lowest cursor that both can honour.
 * @throws ERR_CURSOR_… with that cursor as its floor
 */
export async function startOf(log: Log, after: string): Promise<{ position: number; last: number }> {
  const floors = await Promise.all(FEEDS.map((feed) => log.resolve(feed, { after: 'start' })));
  const floor = Math.max(...floors);
  const lasts = await Promise.all(FEEDS.map((feed) => log.lastPosition(feed)));
  try {
    const places =
      after === 'start' ? [floor] : await Promise.all(FEEDS.map((feed) => log.resolve(feed, { after })));
    // "now" may have moved on between the two.
    const position = Math.min(...places);
    return { position, last: Math.max(position, ...lasts) };
  } catch (error) {
    if (!(error instanceof LastseenError) || error.floor === undefined) {
      throw error;
    }
    throw new LastseenError(error.code, error.message, { floor: log.cursor(floor) });
  }
}
