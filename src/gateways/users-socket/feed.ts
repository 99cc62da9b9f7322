/**
 * The feed of the users socket. It merges the feed of users, which the service appends, with the feed of
 * files and buckets, which applications push. Both are one subscription in log order (G2, G3).
 */
import { USERS } from '../../identity/feeds.ts';
import { memberSpan } from '../../json-text.ts';
import type { LogEvent } from '../../log/event.ts';
import type { Log } from '../../log/log.ts';
import type { Place } from '../../log/place.ts';
import type { Subscription } from '../../log/subscription.ts';
import { type EventName, subjectField } from './codec.ts';
import type { Names } from './names.ts';

/** The feed to which applications push events of files and buckets. */
export const EVENTS = 'users-socket:events';

/** The feeds that a socket reads as one. */
export const FEEDS: readonly string[] = [USERS, EVENTS];

/** An event of the wire, and the user it concerns. */
export interface UserEvent {
  readonly name: EventName;
  readonly userId: string;
  /** JSON text of the file or bucket, as the application pushed it. */
  readonly subject: string | undefined;
}

/** Names of the wire for events of `$users`. The socket does not send other events. */
const USER_EVENTS = new Map<unknown, EventName>([
  ['registered', 'Activated'],
  ['logged_in', 'Login'],
  ['logged_out', 'Logout'],
  ['removed', 'Removed'],
]);

const PUSHED_EVENTS: readonly EventName[] = [
  'FileUploaded',
  'FileRemoved',
  'BucketUploaded',
  'BucketRemoved',
];

/** Decoded events. Every socket reads every event, so that each event is decoded once. */
const decodedEvents = new WeakMap<LogEvent, UserEvent | null>();

/**
 * Decodes an event; `undefined` for an event that the wire does not have, and for a pushed event with another
 * shape.
 */
export function userEventOf(event: LogEvent): UserEvent | undefined {
  let decoded = decodedEvents.get(event);
  if (decoded === undefined) {
    decoded = decodeEvent(event) ?? null;
    decodedEvents.set(event, decoded);
  }
  return decoded ?? undefined;
}

function decodeEvent({ accessId, payload }: LogEvent): UserEvent | undefined {
  const value = JSON.parse(payload) as unknown;
  if (typeof value !== 'object' || value === null) {
    return undefined;
  }
  const { type, id, user } = value as Record<string, unknown>;
  if (accessId === USERS) {
    const name = USER_EVENTS.get(type);
    return name === undefined || typeof id !== 'string'
      ? undefined
      : { name, userId: id, subject: undefined };
  }
  const name = PUSHED_EVENTS.find((pushed) => pushed === type);
  if (name === undefined || typeof user !== 'string') {
    return undefined;
  }
  const span = memberSpan(payload, 0, subjectField(name));
  return span && { name, userId: user, subject: payload.slice(span.start, span.end) };
}

/** Opens both feeds as one subscription. It delays events until the names of their users are loaded. */
export function openFeed(
  { log, names }: { readonly log: Log; readonly names: Names },
  start: Place,
  onMore: () => void,
): Subscription {
  const merged = log.subscribeAll(FEEDS, start, onMore);
  /** Behind the merged subscription while names are loaded: a heartbeat must not pass events that were not sent. */
  let place = start;

  function advance(events: readonly LogEvent[] | undefined): readonly LogEvent[] | undefined {
    place = merged.place;
    return events;
  }

  function withNames(
    events: readonly LogEvent[] | undefined,
  ): readonly LogEvent[] | undefined | Promise<readonly LogEvent[] | undefined> {
    const ids = new Set((events ?? []).flatMap(namedUser));
    const refreshes = [...ids].flatMap((id) => names.refresh(id) ?? []);
    return refreshes.length === 0 ? advance(events) : Promise.all(refreshes).then(() => advance(events));
  }

  return {
    get place() {
      return place;
    },
    get isLive() {
      return merged.isLive;
    },
    get isAtEnd() {
      return merged.isAtEnd;
    },
    next() {
      const events = merged.next();
      return events instanceof Promise ? events.then(withNames) : withNames(events);
    },
    close: merged.close,
  };
}

/** Returns the user whose name must be loaded. A removed user keeps its last known name. */
function namedUser(event: LogEvent): string[] {
  const decoded = userEventOf(event);
  return decoded === undefined || decoded.name === 'Removed' ? [] : [decoded.userId];
}
