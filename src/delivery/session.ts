/**
 * An authenticated connection with its subscriptions. It moves events from each subscription to the wire while the wire
 * takes them: a slow client stops its own cursors, which continue from the store later (G7), and disturbs nobody (G8).
 * The hub's health check sends heartbeats and closes peers that do not answer pings or take no bytes.
 */
import { LastseenError, quote } from '../errors.ts';
import { type Principal, requireAccess, requireScope } from '../identity/principal.ts';
import type { Event } from '../log/event.ts';
import type { Log } from '../log/log.ts';
import type { Subscription } from '../log/subscription.ts';
import type { Runtime } from '../runtime.ts';
import type { CloseReason, Connection } from './connection.ts';
import { createDeadline } from './deadline.ts';

/** How a protocol writes a subscription. Each gives bytes, or `undefined` where the protocol sends nothing. */
export interface FeedEncoder {
  /** The same array may be given for many sessions: an encoder may keep what it made of it. */
  events(events: readonly Event[]): Uint8Array | undefined;
  /** Catch-up has met the tail. Called once for each subscription. */
  live(position: number): Uint8Array | undefined;
}

/** One access_id to follow. */
export interface FeedRequest {
  readonly accessId: string;
  /** Exclusive start. */
  readonly position: number;
  readonly encoder: FeedEncoder;
  /** What the protocol calls the subscription. Default: the access_id; another name if it can read one twice. */
  readonly name?: string;
}

/** Any subscription to follow, one of several access_ids too. */
export interface SubscriptionRequest {
  readonly name: string;
  /** Opens the subscription; it calls `onMore` when it has something again. */
  readonly open: (onMore: () => void) => Subscription;
  readonly encoder: FeedEncoder;
  /** The access_ids under which drops find the subscription, and under which it is listed. */
  readonly accessIds: readonly string[];
}

export interface SessionOptions {
  readonly log: Log;
  readonly connection: Connection;
  readonly principal: Principal;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** Says on the wire that the token expires in so many seconds. */
  readonly onExpiring?: (seconds: number) => void;
  /** The heartbeat frame for where each subscription stands. */
  readonly heartbeat: (positions: ReadonlyMap<string, number>) => Uint8Array | undefined;
  /** A peer that takes no bytes for so long is closed. */
  readonly stallTimeoutMs: number;
  readonly onFault: (error: unknown) => void;
  /** Feeds of this connection that are not subscribed just now: drops find them, and lists show them. */
  readonly otherFeeds?: () => readonly SessionFeed[];
  /** Retention has overtaken a reader: says so on the wire, which the session closes then. */
  readonly onOvertaken?: (error: LastseenError, accessIds: readonly string[]) => void | Promise<void>;
}

/** What went onto wires. */
export interface Delivered {
  /** From the store or the ring, while the reader was behind. */
  caughtUpEvents: number;
  /** As they came, to readers that had met the tail. */
  liveEvents: number;
  bytes: number;
}

/** A line of the list of who is connected. */
export interface SessionFeed {
  readonly accessId: string;
  readonly position: number;
  readonly isLive: boolean;
}

export interface Session {
  readonly connection: Connection;
  /** Whose token it has now. */
  readonly principal: Principal;
  /** A new token on the open connection: the subscriptions go on. @throws ERR_FORBIDDEN if it does not cover them */
  renew(principal: Principal): void;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Head of the log when the session began: a drop before it does not concern it. */
  readonly headAtStart: number;
  readonly feeds: readonly SessionFeed[];
  /** Since the start of the session. */
  readonly delivered: Readonly<Delivered>;
  /** Asks before anything is sent whether `subscribe` would refuse this name. @throws as `subscribe` does */
  requireSubscribable(name: string): void;
  /** @throws ERR_TOO_MANY_SUBSCRIPTIONS, ERR_REQUEST_INVALID when there is one of that name */
  subscribe(request: FeedRequest): void;
  /** @throws as `subscribe` does */
  follow(request: SubscriptionRequest): void;
  /** @throws ERR_REQUEST_INVALID when there is no such subscription */
  unsubscribe(name: string): void;
  /** The peer has shown that it lives. */
  markAlive(): void;
  /** Sends a heartbeat, or closes a peer that does not answer or takes nothing. The hub calls it. */
  checkHealth(now: number): void;
  close(reason: CloseReason): void;
  /** The wire is gone: lets go of everything. */
  dispose(): void;
}

/** Bytes on one wire's buffer from which nothing more is read for it. One frame may still go over it. */
export const HIGH_WATER_BYTES = 256 * 1024;

/** Subscriptions on one connection. */
export const MAX_SUBSCRIPTIONS = 100;

/** Pings that may go unanswered. */
const MAX_MISSED_PONGS = 2;

interface Feed {
  readonly name: string;
  readonly accessIds: readonly string[];
  readonly subscription: Subscription;
  readonly encoder: FeedEncoder;
  isReading: boolean;
  hasAnnouncedLive: boolean;
}

export function createSession(options: SessionOptions): Session {
  const { log, connection, runtime } = options;
  const { clock } = runtime;
  const feeds = new Map<string, Feed>();
  const delivered: Delivered = { caughtUpEvents: 0, liveEvents: 0, bytes: 0 };
  let principal = options.principal;
  const deadline = createDeadline({
    runtime,
    onExpiring: (seconds) => options.onExpiring?.(seconds),
    onExpired: () => {
      connection.close('token-expired');
    },
  });
  deadline.set(principal.expiresAt);
  let isDisposed = false;
  let missedPongs = 0;
  let flushedAtProgress = 0;
  const startedAt = clock.now();
  let progressAt = startedAt;

  connection.onDrain(() => {
    for (const feed of feeds.values()) {
      pump(feed);
    }
  });

  function pump(feed: Feed): void {
    try {
      while (!feed.isReading && isOpen(feed) && connection.bufferedBytes < HIGH_WATER_BYTES) {
        const next = feed.subscription.next();
        if (next === undefined) {
          announceLive(feed);
          return;
        }
        if (next instanceof Promise) {
          awaitPage(feed, next);
        } else {
          deliver(feed, next);
        }
      }
    } catch (error) {
      fail(error, feed);
    }
  }

  function awaitPage(feed: Feed, next: Promise<readonly Event[] | undefined>): void {
    feed.isReading = true;
    next.then(
      (events) => {
        feed.isReading = false;
        if (!isOpen(feed)) {
          return;
        }
        if (events !== undefined) {
          deliver(feed, events);
        }
        // Also when there was nothing: more may have come since that was found.
        pump(feed);
      },
      (error: unknown) => {
        feed.isReading = false;
        fail(error, feed);
      },
    );
  }

  function deliver(feed: Feed, events: readonly Event[]): void {
    const frame = feed.encoder.events(events);
    if (frame === undefined) {
      return;
    }
    connection.write(frame);
    if (feed.hasAnnouncedLive) {
      delivered.liveEvents += events.length;
    } else {
      delivered.caughtUpEvents += events.length;
    }
    delivered.bytes += frame.length;
  }

  function announceLive(feed: Feed): void {
    if (feed.hasAnnouncedLive) {
      return;
    }
    feed.hasAnnouncedLive = true;
    const frame = feed.encoder.live(feed.subscription.position);
    if (frame !== undefined) {
      connection.write(frame);
    }
  }

  /** Where the cursor stands is unknown after a failure, so the client is sent back to resume from its own. */
  function fail(error: unknown, feed: Feed): void {
    if (isDisposed) {
      return;
    }
    if (error instanceof LastseenError && error.code === 'ERR_CURSOR_TOO_OLD') {
      release(feed);
      const close = (): void => {
        connection.close('cursor-refused');
      };
      const announcement = options.onOvertaken?.(error, feed.accessIds);
      if (announcement instanceof Promise) {
        announcement.then(close, close);
      } else {
        close();
      }
      return;
    }
    options.onFault(error);
    connection.close('fault');
  }

  function requireSubscribable(name: string): void {
    if (feeds.has(name)) {
      throw new LastseenError(
        'ERR_REQUEST_INVALID',
        `${quote(name)} is subscribed on this connection already`,
      );
    }
    if (feeds.size >= MAX_SUBSCRIPTIONS) {
      const message = `a connection has at most ${MAX_SUBSCRIPTIONS} subscriptions: open another one`;
      throw new LastseenError('ERR_TOO_MANY_SUBSCRIPTIONS', message);
    }
  }

  function follow({ name, open, encoder, accessIds }: SubscriptionRequest): void {
    requireSubscribable(name);
    const subscription = open(() => {
      pump(feed);
    });
    const feed: Feed = { name, accessIds, subscription, encoder, isReading: false, hasAnnouncedLive: false };
    feeds.set(name, feed);
    pump(feed);
  }

  function release(feed: Feed): void {
    feeds.delete(feed.name);
    feed.subscription.close();
  }

  function isOpen(feed: Feed): boolean {
    return !isDisposed && feeds.get(feed.name) === feed;
  }

  return {
    connection,
    get principal() {
      return principal;
    },
    renew(newPrincipal) {
      requireScope(newPrincipal, 'subscribe');
      for (const { accessIds } of feeds.values()) {
        for (const accessId of accessIds) {
          requireAccess(newPrincipal, accessId);
        }
      }
      principal = newPrincipal;
      deadline.set(newPrincipal.expiresAt);
    },
    delivered,
    startedAt,
    headAtStart: log.head,
    get feeds() {
      const subscribed = [...feeds.values()].flatMap(({ accessIds, subscription: { position, isLive } }) =>
        accessIds.map((accessId) => ({ accessId, position, isLive })),
      );
      return options.otherFeeds === undefined ? subscribed : [...subscribed, ...options.otherFeeds()];
    },
    requireSubscribable,
    subscribe({ accessId, position, encoder, name = accessId }) {
      const open = (onMore: () => void): Subscription => log.subscribe(accessId, position, onMore);
      follow({ name, open, encoder, accessIds: [accessId] });
    },
    follow,
    unsubscribe(name) {
      const feed = feeds.get(name);
      if (feed === undefined) {
        throw new LastseenError('ERR_REQUEST_INVALID', `${quote(name)} is not subscribed on this connection`);
      }
      release(feed);
    },
    markAlive() {
      missedPongs = 0;
    },
    checkHealth(now) {
      const flushed = connection.flushedBytes;
      if (connection.bufferedBytes === 0 || flushed !== flushedAtProgress) {
        flushedAtProgress = flushed;
        progressAt = now;
      }
      if (connection.bufferedBytes > 0) {
        // A ping behind unread data says nothing about the peer: what counts is whether it takes bytes.
        if (now - progressAt >= options.stallTimeoutMs) {
          connection.close('stalled');
        }
        return;
      }
      if (connection.canPong && missedPongs >= MAX_MISSED_PONGS) {
        connection.close('no-pong');
        return;
      }
      missedPongs += 1;
      const frame = options.heartbeat(
        new Map([...feeds].map(([name, feed]) => [name, feed.subscription.position])),
      );
      if (frame !== undefined) {
        connection.write(frame);
      }
      connection.ping();
    },
    close(reason) {
      connection.close(reason);
    },
    dispose() {
      if (isDisposed) {
        return;
      }
      isDisposed = true;
      deadline.set(null);
      for (const feed of feeds.values()) {
        feed.subscription.close();
      }
      feeds.clear();
    },
  };
}
