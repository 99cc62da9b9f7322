/**
 * An authenticated wire with its subscriptions. It moves events from each subscription to the wire as long as the
 * wire takes them: a slow client stops its own cursors, which go on from the store later (G7), and disturbs nobody
 * (G8). Heartbeats, missed pongs and stalls are judged at the hub's beat.
 */
import { LastseenError, shown } from '../errors.ts';
import { type Principal, requireAccess, requireScope } from '../identity/principal.ts';
import type { Event } from '../log/event.ts';
import type { Log } from '../log/log.ts';
import type { Subscription } from '../log/subscription.ts';
import type { CloseReason, Connection } from './connection.ts';
import { createDeadline } from './deadline.ts';

/** How a protocol puts a feed on its wire. Each gives bytes, or `undefined` where the protocol says nothing. */
export interface FeedEncoder {
  /** The same array may be given for many sessions: an encoder may keep what it made of it. */
  events(accessId: string, events: readonly Event[]): Uint8Array | undefined;
  /** Catch-up has met the tail. Called once a subscription. */
  live(accessId: string, position: number): Uint8Array | undefined;
}

export interface SessionOptions {
  readonly log: Log;
  readonly connection: Connection;
  readonly principal: Principal;
  /** Says on the wire that the token ends in so many seconds. */
  readonly onExpiring?: (seconds: number) => void;
  /** The heartbeat frame for where each subscription stands. */
  readonly heartbeat: (positions: ReadonlyMap<string, number>) => Uint8Array | undefined;
  /** A peer that takes no bytes for so long is closed. */
  readonly stallTimeoutMs: number;
  readonly onFault: (error: unknown) => void;
  /** What the room reads for this connection by itself: for drops, and the list of who is connected. */
  readonly ownFeeds?: () => readonly SessionFeed[];
  /** Retention has overtaken the reader of this feed: says so on the wire, which is closed then. */
  readonly onOvertaken?: (error: LastseenError, accessId: string) => void;
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
  /** Who holds it now. */
  readonly principal: Principal;
  /** A new token on the open connection: the subscriptions go on. @throws ERR_FORBIDDEN if it does not cover them */
  renew(principal: Principal): void;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Head of the log when the session began: a drop before it does not concern it. */
  readonly sinceHead: number;
  readonly feeds: readonly SessionFeed[];
  /** Since the start of the session. */
  readonly delivered: Readonly<Delivered>;
  /** @throws as `subscribe` would: to be asked before anything is said. */
  requireFree(name: string): void;
  /**
   * `name` is what the protocol calls the subscription; the access_id, unless it can read one twice.
   * @throws ERR_TOO_MANY_SUBSCRIPTIONS, ERR_REQUEST_INVALID when there is one of that name
   */
  subscribe(accessId: string, position: number, encoder: FeedEncoder, name?: string): void;
  /** @throws ERR_REQUEST_INVALID when there is no such subscription. */
  unsubscribe(name: string): void;
  /** The peer has shown that it lives. */
  alive(): void;
  /** Called by the hub at every beat. */
  beat(now: number): void;
  close(reason: CloseReason): void;
  /** The wire is gone: lets go of everything. */
  ended(): void;
}

/** Bytes on one wire's buffer from which nothing more is read for it. One frame may still go over it. */
export const HIGH_WATER_BYTES = 256 * 1024;

/** Subscriptions on one connection. */
export const MAX_SUBSCRIPTIONS = 100;

/** Pings that may go unanswered. */
const MAX_MISSED_PONGS = 2;

interface Feed {
  readonly name: string;
  readonly subscription: Subscription;
  readonly encoder: FeedEncoder;
  isReading: boolean;
  saidLive: boolean;
}

export function createSession(options: SessionOptions): Session {
  const { log, connection } = options;
  const feeds = new Map<string, Feed>();
  const delivered: Delivered = { caughtUpEvents: 0, liveEvents: 0, bytes: 0 };
  let principal = options.principal;
  const deadline = createDeadline(
    (seconds) => options.onExpiring?.(seconds),
    () => {
      connection.close('token-expired');
    },
  );
  deadline.set(principal.expiresAt);
  let isEnded = false;
  let missedPongs = 0;
  let flushedAtProgress = 0;
  let progressAt = Date.now();
  const since = Date.now();

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
          sayLive(feed);
          return;
        }
        if (next instanceof Promise) {
          wait(feed, next);
        } else {
          deliver(feed, next);
        }
      }
    } catch (error) {
      fail(error, feed);
    }
  }

  function wait(feed: Feed, next: Promise<readonly Event[] | undefined>): void {
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
    const frame = feed.encoder.events(feed.subscription.accessId, events);
    if (frame === undefined) {
      return;
    }
    connection.write(frame);
    if (feed.saidLive) {
      delivered.liveEvents += events.length;
    } else {
      delivered.caughtUpEvents += events.length;
    }
    delivered.bytes += frame.length;
  }

  function sayLive(feed: Feed): void {
    if (feed.saidLive) {
      return;
    }
    feed.saidLive = true;
    const frame = feed.encoder.live(feed.subscription.accessId, feed.subscription.position);
    if (frame !== undefined) {
      connection.write(frame);
    }
  }

  /** Where the cursor stands is unknown after a failure, so the client is sent back to resume from its own. */
  function fail(error: unknown, feed: Feed): void {
    if (isEnded) {
      return;
    }
    if (error instanceof LastseenError && error.code === 'ERR_CURSOR_TOO_OLD') {
      options.onOvertaken?.(error, feed.subscription.accessId);
      connection.close('cursor-refused');
      return;
    }
    options.onFault(error);
    connection.close('fault');
  }

  function requireFree(name: string): void {
    if (feeds.has(name)) {
      throw new LastseenError(
        'ERR_REQUEST_INVALID',
        `${shown(name)} is subscribed on this connection already`,
      );
    }
    if (feeds.size >= MAX_SUBSCRIPTIONS) {
      const message = `a connection has at most ${MAX_SUBSCRIPTIONS} subscriptions: open another one`;
      throw new LastseenError('ERR_TOO_MANY_SUBSCRIPTIONS', message);
    }
  }

  function isOpen(feed: Feed): boolean {
    return !isEnded && feeds.get(feed.name) === feed;
  }

  return {
    connection,
    get principal() {
      return principal;
    },
    renew(fresh) {
      requireScope(fresh, 'subscribe');
      for (const { subscription } of feeds.values()) {
        requireAccess(fresh, subscription.accessId);
      }
      principal = fresh;
      deadline.set(fresh.expiresAt);
    },
    delivered,
    since,
    sinceHead: log.head,
    get feeds() {
      const subscribed = [...feeds.values()].map(({ subscription }) => ({
        accessId: subscription.accessId,
        position: subscription.position,
        isLive: subscription.isLive,
      }));
      return options.ownFeeds === undefined ? subscribed : [...subscribed, ...options.ownFeeds()];
    },
    requireFree,
    subscribe(accessId, position, encoder, name = accessId) {
      requireFree(name);
      const feed: Feed = {
        name,
        subscription: log.subscribe(accessId, position, () => {
          pump(feed);
        }),
        encoder,
        isReading: false,
        saidLive: false,
      };
      feeds.set(name, feed);
      pump(feed);
    },
    unsubscribe(name) {
      const feed = feeds.get(name);
      if (feed === undefined) {
        throw new LastseenError('ERR_REQUEST_INVALID', `${shown(name)} is not subscribed on this connection`);
      }
      feeds.delete(name);
      feed.subscription.close();
    },
    alive() {
      missedPongs = 0;
    },
    beat(now) {
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
    ended() {
      if (isEnded) {
        return;
      }
      isEnded = true;
      deadline.set(null);
      for (const feed of feeds.values()) {
        feed.subscription.close();
      }
      feeds.clear();
    },
  };
}
