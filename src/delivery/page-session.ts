/**
 * A page or a long poll while its request is under way. The hub counts, lists and checks it like the other
 * connections, and closes it on drops, revocations, the expiry of its token and the end of the log (G7, G10).
 */
import { LastseenError } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import type { Place } from '../log/place.ts';
import type { Runtime } from '../runtime.ts';
import type { CloseReason, Connection } from './connection.ts';
import { createDeadline } from './deadline.ts';
import { createHealthCheck } from './health-check.ts';
import type { Delivered, HubSession } from './session.ts';

/** A page in the hub. */
export interface PageSession extends HubSession {
  /** Aborts when the request has to end early, and when the client has disconnected. */
  readonly signal: AbortSignal;
  /** @throws ERR_UNAUTHENTICATED if the token was revoked or has expired since the request began */
  requireToken(): void;
  /** Counts the events of the answer. */
  countDelivered(events: number, bytes: number): void;
}

/** The response as a connection, its reader and its place. */
export interface PageSessionOptions {
  /** The answer on its way. Its `close` cuts off an answer that has begun. */
  readonly connection: Connection;
  readonly principal: Principal;
  readonly accessId: string;
  readonly place: Place;
  /** Position of the head of the log. */
  readonly headAtStart: number;
  /** The session closes a peer that accepts no bytes for this time. */
  readonly stallTimeoutMs: number;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
}

const TOKEN_FAULTS: Partial<Record<CloseReason, string>> = {
  'token-expired': 'the token has expired during the request',
  'token-revoked': 'the token was revoked during the request',
};

/** Creates the session of a page. */
export function createPageSession(options: PageSessionOptions): PageSession {
  const { connection, principal, accessId, place, headAtStart, runtime, stallTimeoutMs } = options;
  const startedAt = runtime.clock.now();
  const delivered: Delivered = { caughtUpEvents: 0, liveEvents: 0, bytes: 0 };
  const ending = new AbortController();
  let endReason: CloseReason | undefined;
  const health = createHealthCheck({ connection, startedAt, stallTimeoutMs, heartbeat: () => undefined });
  const deadline = createDeadline({
    runtime,
    onExpiring: () => undefined,
    onExpired: () => {
      close('token-expired');
    },
  });
  deadline.set(principal.expiresAt);

  function close(reason: CloseReason): void {
    endReason ??= reason;
    connection.close(reason);
    ending.abort();
  }

  return {
    connection,
    principal,
    startedAt,
    headAtStart,
    feeds: [{ accessId, place, isLive: false }],
    delivered,
    signal: ending.signal,
    requireToken() {
      const fault = endReason === undefined ? undefined : TOKEN_FAULTS[endReason];
      if (fault !== undefined) {
        throw new LastseenError('ERR_UNAUTHENTICATED', fault);
      }
    },
    countDelivered(events, bytes) {
      delivered.caughtUpEvents += events;
      delivered.bytes += bytes;
    },
    checkHealth: health.check,
    close,
    dispose() {
      deadline.set(null);
      ending.abort();
    },
  };
}
