/**
 * An authenticated connection with its subscriptions. It writes the events of each subscription while the
 * connection accepts bytes. A slow client stops its own cursors, which continue from the store later (G7),
 * and does not slow others down (G8). The health check of the hub sends heartbeats and closes peers that
 * answer no pings or accept no bytes.
 */
import { LastseenError, quote } from '../errors.ts';
import { type Principal, requireAccess, requireScope } from '../identity/principal.ts';
import type { LogEvent } from '../log/event.ts';
import type { Log } from '../log/log.ts';
import type { Place } from '../log/place.ts';
import type { Subscription } from '../log/subscription.ts';
import type { Runtime } from '../runtime.ts';
import type { CloseReason, Connection } from './connection.ts';
import { createDeadline } from './deadline.ts';
import type { FeedEncoder, FeedRequest, SubscriptionRequest } from './feed.ts';
import { createHealthCheck } from './health-check.ts';
import { createReads } from './reads.ts';

/** The connection, its principal and the frames of its protocol. */
export interface SessionOptions {
  readonly log: Log;
  readonly connection: Connection;
  readonly principal: Principal;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** Sends the warning that the token expires in this number of seconds. */
  readonly onExpiring?: (seconds: number) => void;
  /** Returns the heartbeat frame. `places` contains the place of each subscription by name. */
  readonly heartbeat: (places: ReadonlyMap<string, Place>) => Uint8Array | undefined;
  /** The session closes a peer that accepts no bytes for this time. */
  readonly stallTimeoutMs: number;
  /** Receives an unexpected error. The session then closes the connection. */
  readonly onFault: (error: unknown) => void;
  /** Feeds of this connection without an active subscription. Drops and the list of clients include them. */
  readonly otherFeeds?: () => readonly SessionFeed[];
  /**
   * Called if retention has deleted events that a reader has not received. It sends the error to the client;
   * the session then closes the connection.
   */
  readonly onOvertaken?: (error: LastseenError, accessIds: readonly string[]) => void | Promise<void>;
}

/** Totals of delivered events and bytes. */
export interface Delivered {
  /** Events that were sent during catch-up. */
  caughtUpEvents: number;
  /** Events that were sent after the reader had reached the tail. */
  liveEvents: number;
  bytes: number;
}

/** One feed of a session, for the list of clients. */
export interface SessionFeed {
  readonly accessId: string;
  readonly place: Place;
  readonly isLive: boolean;
}

/** An authenticated connection as the hub sees it: a session, or a page under way. */
export interface HubSession {
  readonly connection: Connection;
  /** The principal of the current token. */
  readonly principal: Principal;
  /** Start of the session, in milliseconds since 1970. */
  readonly startedAt: number;
  /**
   * Head of the log when the session started. A drop at or before this position does not close the session.
   */
  readonly headAtStart: number;
  readonly feeds: readonly SessionFeed[];
  /** Totals since the session started. */
  readonly delivered: Readonly<Delivered>;
  /** Sends a heartbeat, or closes a peer that answers no pings or accepts no bytes. The hub calls it. */
  checkHealth(now: number): void;
  close(reason: CloseReason): void;
  /** Releases the subscriptions and timers after a disconnect. */
  dispose(): void;
}

/** An authenticated connection with its subscriptions. */
export interface Session extends HubSession {
  /**
   * Replaces the token of the open connection. The subscriptions continue.
   * @throws ERR_FORBIDDEN if the new token does not cover them
   */
  renew(principal: Principal): void;
  /**
   * Checks whether `subscribe` accepts this name, before the caller sends a frame.
   * @throws as `subscribe` does
   */
  requireSubscribable(name: string): void;
  /**
   * Subscribes to one access_id.
   * @throws ERR_TOO_MANY_SUBSCRIPTIONS, or ERR_REQUEST_INVALID if the name is in use
   */
  subscribe(request: FeedRequest): void;
  /**
   * Subscribes with a subscription that the caller opens.
   * @throws as `subscribe` does
   */
  follow(request: SubscriptionRequest): void;
  /**
   * Ends a subscription.
   * @throws ERR_REQUEST_INVALID if there is no subscription with this name
   */
  unsubscribe(name: string): void;
  /** Records a sign of life of the peer. */
  markAlive(): void;
}

/** Maximum number of subscriptions of a connection. */
export const MAX_SUBSCRIPTIONS = 100;

interface Feed {
  readonly name: string;
  readonly accessIds: readonly string[];
  readonly subscription: Subscription;
  readonly encoder: FeedEncoder;
  hasAnnouncedLive: boolean;
  /** False after `unsubscribe`, and after the session has ended. */
  isOpen: boolean;
}

/** Creates a session without subscriptions. */
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
  const startedAt = clock.now();
  const health = createHealthCheck({
    connection,
    startedAt,
    stallTimeoutMs: options.stallTimeoutMs,
    heartbeat: () =>
      options.heartbeat(new Map([...feeds].map(([name, feed]) => [name, feed.subscription.place]))),
  });

  const reads = createReads<Feed>({ connection, deliver, onTail: announceLive, onFailure: fail });

  function deliver(feed: Feed, events: readonly LogEvent[]): void {
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
    const frame = feed.encoder.live(feed.subscription.place);
    if (frame !== undefined) {
      connection.write(frame);
    }
  }

  /** The position is unknown after a failure, so the client has to resume from its own cursor. */
  function fail(feed: Feed, error: unknown): void {
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
    if (error instanceof LastseenError && error.code === 'ERR_LOG_REPLACED') {
      connection.close('restarting');
      return;
    }
    options.onFault(error);
    connection.close('fault');
  }

  function requireSubscribable(name: string): void {
    if (feeds.has(name)) {
      throw new LastseenError(
        'ERR_REQUEST_INVALID',
        `this connection is already subscribed to ${quote(name)}`,
      );
    }
    if (feeds.size >= MAX_SUBSCRIPTIONS) {
      const message = `a connection has at most ${MAX_SUBSCRIPTIONS} subscriptions: open another connection`;
      throw new LastseenError('ERR_TOO_MANY_SUBSCRIPTIONS', message);
    }
  }

  function follow({ name, open, encoder, accessIds }: SubscriptionRequest): void {
    requireSubscribable(name);
    const subscription = open(() => {
      reads.wake(feed);
    });
    const feed: Feed = { name, accessIds, subscription, encoder, hasAnnouncedLive: false, isOpen: true };
    feeds.set(name, feed);
    reads.wake(feed);
  }

  function release(feed: Feed): void {
    feed.isOpen = false;
    feeds.delete(feed.name);
    reads.remove(feed);
    feed.subscription.close();
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
    headAtStart: log.head.position,
    get feeds() {
      const subscribed = [...feeds.values()].flatMap(({ accessIds, subscription: { place, isLive } }) =>
        accessIds.map((accessId) => ({ accessId, place, isLive })),
      );
      return options.otherFeeds === undefined ? subscribed : [...subscribed, ...options.otherFeeds()];
    },
    requireSubscribable,
    subscribe({ accessId, after, encoder, name = accessId }) {
      const open = (onMore: () => void): Subscription => log.subscribe(accessId, after, onMore);
      follow({ name, open, encoder, accessIds: [accessId] });
    },
    follow,
    unsubscribe(name) {
      const feed = feeds.get(name);
      if (feed === undefined) {
        throw new LastseenError('ERR_REQUEST_INVALID', `this connection is not subscribed to ${quote(name)}`);
      }
      release(feed);
    },
    markAlive: health.markAlive,
    checkHealth: health.check,
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
        release(feed);
      }
    },
  };
}
