/**
 * Decides whether the clock of the database can be trusted to delete events by their age. A clock that has jumped forwards
 * would delete events that are young. Pure.
 */

export interface ClockReading {
  /** The clock of the database, in milliseconds since 1970. */
  readonly now: number;
  /** What this clock showed at the last run of retention; `undefined` before the first. */
  readonly seenAt: number | undefined;
  /** The latest `recorded_at` that is not after `now`; `undefined` in an empty log. */
  readonly newestRecordedAt: number | undefined;
  readonly maxAgeMs: number;
}

const DAY_MS = 86_400_000;

/** The clock may move by a tenth of the age between two runs, and always by a day. */
const TOLERATED_PART = 10;

/** What becomes of a run: the reason to refuse it, if there is one, and the time to remember for the next run. */
export interface ClockVerdict {
  readonly refused?: string;
  readonly seenAt: number;
}

/**
 * Before the first run the clock is compared with the events: a quiet log is no reason to refuse, but the rule must leave
 * the latest event. After a refusal later runs are compared with the same time, although events of the clock that jumped
 * are in the log then.
 */
export function judgeClock({ now, seenAt, newestRecordedAt, maxAgeMs }: ClockReading): ClockVerdict {
  const before = seenAt ?? newestRecordedAt;
  if (before === undefined) {
    return { seenAt: now };
  }
  const toleratedMs = Math.max(
    DAY_MS,
    seenAt === undefined ? maxAgeMs : Math.floor(maxAgeMs / TOLERATED_PART),
  );
  if (now - before <= toleratedMs) {
    return { seenAt: now };
  }
  const days = ((now - before) / DAY_MS).toFixed(1);
  const what = seenAt === undefined ? 'the latest event' : 'the last run of retention';
  const refused = `the clock of the database shows ${timestamp(now)}, ${days} days after ${what} (${timestamp(before)}), expected at most ${(toleratedMs / DAY_MS).toFixed(1)} days: no event was deleted by its age. If the clock is right, run "lastseen prune --trust-clock"`;
  return { refused, seenAt: before };
}

function timestamp(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}
