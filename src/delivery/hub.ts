/** The connections of this process, pages under way included, with their health checks, drops, revocations and delivery totals. */
import type { Principal } from '../identity/principal.ts';
import { concerns, type Revocation } from '../identity/revocations.ts';
import type { Clock, Timers } from '../runtime.ts';
import type { CloseReason } from './connection.ts';
import type { Delivered, HubSession } from './session.ts';

/** The clock and the revocations. */
export interface HubOptions {
  readonly timers: Timers;
  readonly clock: Clock;
  /** Returns true if a token of this principal was revoked recently. */
  readonly isRevoked?: (principal: Principal) => boolean;
}

/** The sessions of this process. */
export interface Hub {
  readonly sessions: ReadonlySet<HubSession>;
  add(session: HubSession): void;
  remove(session: HubSession): void;
  /** Delivery totals since the process started, by gateway. */
  delivered(): ReadonlyMap<string, Readonly<Delivered>>;
  /** Closes the sessions that read `accessId` and started before `position`. */
  drop(accessId: string, position: number): void;
  /** Closes the sessions whose token is revoked. */
  revoke(revoked: Revocation): void;
  /** Number of connections of a principal. */
  countOf(subject: string): number;
  /** Number of connections that read an access_id. */
  countReaders(accessId: string): number;
  /** Closes every session with the reason. */
  closeAll(reason: CloseReason): void;
  /** Stops the health checks. */
  stop(): void;
}

/**
 * Interval of the health check of a session in seconds. It is below the heartbeat interval of 25 s that the
 * protocol guarantees.
 */
const CHECK_SECONDS = 24;

/** Creates a hub and starts its health checks. */
export function createHub({ timers, clock, isRevoked }: HubOptions): Hub {
  const sessions = new Set<HubSession>();
  const buckets: Set<HubSession>[] = Array.from({ length: CHECK_SECONDS }, () => new Set());
  const bucketOf = new Map<HubSession, Set<HubSession>>();
  const subjects = new Map<string, number>();
  const subjectOf = new Map<HubSession, string>();
  const endedTotals = new Map<string, Delivered>();
  let tick = 0;

  /** Counts a session for the principal that it started with. */
  function countSubject(session: HubSession, change: 1 | -1): void {
    const subject = subjectOf.get(session) ?? session.principal.subject;
    const total = (subjects.get(subject) ?? 0) + change;
    if (total > 0) {
      subjects.set(subject, total);
    } else {
      subjects.delete(subject);
    }
    if (change > 0) {
      subjectOf.set(session, subject);
    } else {
      subjectOf.delete(session);
    }
  }

  function addTo(totals: Map<string, Delivered>, gateway: string, delivered: Readonly<Delivered>): void {
    const total = totals.get(gateway) ?? { caughtUpEvents: 0, liveEvents: 0, bytes: 0 };
    totals.set(gateway, total);
    total.caughtUpEvents += delivered.caughtUpEvents;
    total.liveEvents += delivered.liveEvents;
    total.bytes += delivered.bytes;
  }

  const stopChecks = timers.every(1_000, () => {
    tick = (tick + 1) % CHECK_SECONDS;
    const now = clock.now();
    for (const session of buckets[tick] ?? []) {
      session.checkHealth(now);
    }
  });

  return {
    sessions,
    add(session) {
      const bucket = buckets[tick] ?? new Set();
      bucket.add(session);
      bucketOf.set(session, bucket);
      sessions.add(session);
      countSubject(session, 1);
      // The token may have been revoked while the session was being set up.
      if (isRevoked?.(session.principal) === true) {
        session.close('token-revoked');
      }
    },
    remove(session) {
      bucketOf.get(session)?.delete(session);
      bucketOf.delete(session);
      if (sessions.delete(session)) {
        countSubject(session, -1);
        addTo(endedTotals, session.connection.gateway, session.delivered);
      }
      session.dispose();
    },
    delivered() {
      const totals = new Map([...endedTotals].map(([gateway, total]) => [gateway, { ...total }]));
      for (const session of sessions) {
        addTo(totals, session.connection.gateway, session.delivered);
      }
      return totals;
    },
    drop(accessId, position) {
      for (const session of [...sessions]) {
        if (session.headAtStart < position && reads(session, accessId)) {
          session.close('dropped');
        }
      }
    },
    revoke(revoked) {
      for (const session of [...sessions]) {
        if (concerns(revoked, session.principal)) {
          session.close('token-revoked');
        }
      }
    },
    countOf(subject) {
      return subjects.get(subject) ?? 0;
    },
    countReaders(accessId) {
      let readers = 0;
      for (const session of sessions) {
        readers += reads(session, accessId) ? 1 : 0;
      }
      return readers;
    },
    closeAll(reason) {
      for (const session of [...sessions]) {
        session.close(reason);
      }
    },
    stop() {
      stopChecks();
    },
  };
}

function reads(session: HubSession, accessId: string): boolean {
  return session.feeds.some((feed) => feed.accessId === accessId);
}
