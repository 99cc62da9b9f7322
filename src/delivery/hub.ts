/** Who is connected to this process: the beat that keeps sessions honest, drops by access_id, drain. */
import type { CloseReason } from './connection.ts';
import type { Session } from './session.ts';

export interface HubLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAccessId: number;
}

export interface Hub {
  readonly sessions: ReadonlySet<Session>;
  /** True when no further connection may be opened. */
  readonly isFull: boolean;
  /** True when no further connection may read this access_id. */
  isFullFor(accessId: string): boolean;
  add(session: Session): void;
  remove(session: Session): void;
  /** Closes what reads `accessId` and began before `position`. */
  drop(accessId: string, position: number): void;
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
  let tick = 0;

  const timer = setInterval(() => {
    tick = (tick + 1) % BEAT_SECONDS;
    const now = Date.now();
    for (const session of slots[tick] ?? []) session.beat(now);
  }, 1_000);

  return {
    sessions,
    get isFull() {
      return sessions.size >= limits.maxConnections;
    },
    isFullFor(accessId) {
      if (sessions.size < limits.maxConnectionsPerAccessId) return false;
      let count = 0;
      for (const session of sessions) if (reads(session, accessId)) count += 1;
      return count >= limits.maxConnectionsPerAccessId;
    },
    add(session) {
      const slot = slots[tick] ?? new Set();
      slot.add(session);
      slotOf.set(session, slot);
      sessions.add(session);
    },
    remove(session) {
      slotOf.get(session)?.delete(session);
      slotOf.delete(session);
      sessions.delete(session);
      session.ended();
    },
    drop(accessId, position) {
      for (const session of [...sessions]) {
        if (session.sinceHead < position && reads(session, accessId)) session.close('dropped');
      }
    },
    closeAll(reason) {
      for (const session of [...sessions]) session.close(reason);
    },
    stop() {
      clearInterval(timer);
    },
  };
}

function reads(session: Session, accessId: string): boolean {
  return session.feeds.some((feed) => feed.accessId === accessId);
}
