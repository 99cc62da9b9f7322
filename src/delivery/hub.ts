/** Who is connected to this process: the beat that keeps sessions honest, drops by access_id, drain. */
import type { Principal } from '../identity/principal.ts';
import { concerns, type Revoked } from '../identity/revocations.ts';
import type { CloseReason } from './connection.ts';
import type { Delivered, Session } from './session.ts';

export interface HubLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAccessId: number;
  /** Whether a token of this principal was revoked lately. */
  readonly isRevoked?: (principal: Principal) => boolean;
}

export interface Hub {
  readonly sessions: ReadonlySet<Session>;
  /** True when no further connection may be opened. */
  readonly isFull: boolean;
  /** True when no further connection may read this access_id. */
  isFullFor(accessId: string): boolean;
  add(session: Session): void;
  remove(session: Session): void;
  /** What went onto wires since the start, by gateway. */
  delivered(): ReadonlyMap<string, Readonly<Delivered>>;
  /** Counts what a gateway has answered without a session. */
  countDelivered(gateway: string, events: number, bytes: number): void;
  /** Closes what reads `accessId` and began before `position`. */
  drop(accessId: string, position: number): void;
  /** Closes what lives on a token that is revoked. */
  revoke(what: Revoked): void;
  /** Connections of this holder. */
  countOf(subject: string): number;
  /** Closes every session with this reason. */
  closeAll(reason: CloseReason): void;
  /** Stops the beat. */
  stop(): void;
}

/** Each session is looked at once in so many ticks of a second: under the 25 s that the wire promises. */
const BEAT_SECONDS = 24;

export function createHub(limits: HubLimits): Hub {
  const sessions = new Set<Session>();
  const slots: Set<Session>[] = Array.from({ length: BEAT_SECONDS }, () => new Set());
  const slotOf = new Map<Session, Set<Session>>();
  const subjects = new Map<string, number>();
  const subjectOf = new Map<Session, string>();
  const ended = new Map<string, Delivered>();
  let tick = 0;

  /** A session counts for who held it at its start. */
  function count(session: Session, by: 1 | -1): void {
    const subject = subjectOf.get(session) ?? session.principal.subject;
    const now = (subjects.get(subject) ?? 0) + by;
    if (now > 0) {
      subjects.set(subject, now);
    } else {
      subjects.delete(subject);
    }
    if (by > 0) {
      subjectOf.set(session, subject);
    } else {
      subjectOf.delete(session);
    }
  }

  function addTo(totals: Map<string, Delivered>, gateway: string, more: Readonly<Delivered>): void {
    const total = totals.get(gateway) ?? { caughtUpEvents: 0, liveEvents: 0, bytes: 0 };
    totals.set(gateway, total);
    total.caughtUpEvents += more.caughtUpEvents;
    total.liveEvents += more.liveEvents;
    total.bytes += more.bytes;
  }

  const timer = setInterval(() => {
    tick = (tick + 1) % BEAT_SECONDS;
    const now = Date.now();
    for (const session of slots[tick] ?? []) {
      session.beat(now);
    }
  }, 1_000);

  return {
    sessions,
    get isFull() {
      return sessions.size >= limits.maxConnections;
    },
    isFullFor(accessId) {
      if (sessions.size < limits.maxConnectionsPerAccessId) {
        return false;
      }
      let count = 0;
      for (const session of sessions) {
        if (reads(session, accessId)) {
          count += 1;
        }
      }
      return count >= limits.maxConnectionsPerAccessId;
    },
    add(session) {
      const slot = slots[tick] ?? new Set();
      slot.add(session);
      slotOf.set(session, slot);
      sessions.add(session);
      count(session, 1);
      // What was revoked while the session was being set up.
      if (limits.isRevoked?.(session.principal) === true) {
        session.close('token-revoked');
      }
    },
    remove(session) {
      slotOf.get(session)?.delete(session);
      slotOf.delete(session);
      if (sessions.delete(session)) {
        count(session, -1);
        addTo(ended, session.connection.gateway, session.delivered);
      }
      session.ended();
    },
    delivered() {
      const totals = new Map([...ended].map(([gateway, total]) => [gateway, { ...total }]));
      for (const session of sessions) {
        addTo(totals, session.connection.gateway, session.delivered);
      }
      return totals;
    },
    countDelivered(gateway, events, bytes) {
      addTo(ended, gateway, { caughtUpEvents: events, liveEvents: 0, bytes });
    },
    drop(accessId, position) {
      for (const session of [...sessions]) {
        if (session.sinceHead < position && reads(session, accessId)) {
          session.close('dropped');
        }
      }
    },
    revoke(what) {
      for (const session of [...sessions]) {
        if (concerns(what, session.principal)) {
          session.close('token-revoked');
        }
      }
    },
    countOf(subject) {
      return subjects.get(subject) ?? 0;
    },
    closeAll(reason) {
      for (const session of [...sessions]) {
        session.close(reason);
      }
    },
    stop() {
      clearInterval(timer);
    },
  };
}

function reads(session: Session, accessId: string): boolean {
  return session.feeds.some((feed) => feed.accessId === accessId);
}
