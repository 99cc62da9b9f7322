/**
 * What became of a commit whose answer was lost. Each group has a number, which it writes beside its events; under the
 * append lock the number says whether it is there. One that is not is given up for ever before it is refused, so that a
 * statement that was still on its way appends nothing (G1, G4).
 */
import type pg from 'pg';
import { LastseenError } from '../../errors.ts';
import type { AppendResult } from '../../log/store.ts';
import { type Runtime, sleep } from '../../runtime.ts';
import { abandon, connect, unavailable } from './connection.ts';

/** Names the lock among all advisory locks of the database. */
export const APPEND_LOCK = 4_793_211_001;

/** How long the outcome of a commit is asked for when its answer was lost. */
const SETTLE_MS = 20_000;
const SETTLE_PAUSE_MS = 250;

/** How a group is found again: the name of the connection that appends it, and its number there. */
export interface GroupName {
  readonly writerId: string;
  readonly group: number;
}

/** A commit whose answer has not come. */
export class OutcomeUnknown extends Error {
  readonly writerId: string;
  readonly group: number;
  /** How many events it appends: a group that is there ends at this position or later. */
  readonly events: number;
  /** What the group becomes when it is found, by the position of its last event. */
  readonly found: (lastPosition: number, connection: pg.Client) => Promise<AppendResult>;
  constructor(
    group: GroupName & { readonly events: number },
    found: OutcomeUnknown['found'],
    cause: unknown,
  ) {
    super('the connection was lost while committing', { cause });
    this.writerId = group.writerId;
    this.group = group.group;
    this.events = group.events;
    this.found = found;
  }
}

/** Asks what became of a commit until the server says. @throws ERR_STORE_UNAVAILABLE, ERR_OUTCOME_UNKNOWN */
export async function settle(
  attempt: OutcomeUnknown,
  {
    url,
    runtime,
    isClosed,
  }: {
    readonly url: string;
    readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
    readonly isClosed: () => boolean;
  },
): Promise<AppendResult> {
  const { clock, timers } = runtime;
  const deadline = clock.steady() + SETTLE_MS;
  while (clock.steady() < deadline && !isClosed()) {
    const found = await lookFor(url, attempt);
    if (found === 'absent') {
      throw unavailable(attempt);
    }
    if (found !== undefined) {
      return found;
    }
    await sleep(timers, SETTLE_PAUSE_MS);
  }
  const message =
    'the store was lost while it committed, and has not come back to say whether it did: push again with the same ids or Idempotency-Key';
  throw new LastseenError('ERR_OUTCOME_UNKNOWN', message, { cause: attempt });
}

/** The group's result if it is on disk; `undefined` while the server cannot be asked. */
async function lookFor(url: string, attempt: OutcomeUnknown): Promise<AppendResult | 'absent' | undefined> {
  let connection: pg.Client | undefined;
  try {
    connection = await connect(url);
    // With the lock in our hand the lost transaction has ended, or has not begun: then it finds itself given up.
    await connection.query(`begin; select pg_advisory_xact_lock(${APPEND_LOCK})`);
    const { rows } = await connection.query<{ last_group: number; last_position: number }>(
      'select last_group, last_position from writers where writer_id = $1',
      [attempt.writerId],
    );
    const left = rows[0];
    // A name whose groups were only given up stands at position 0, where no event ends.
    if (left?.last_group === attempt.group && left.last_position >= attempt.events) {
      return await attempt.found(left.last_position, connection);
    }
    await connection.query(
      `insert into writers values ($1, now(), $2, 0)
       on conflict (writer_id) do update set last_group = excluded.last_group`,
      [attempt.writerId, attempt.group + 1],
    );
    await connection.query('commit');
    return 'absent';
  } catch {
    return undefined;
  } finally {
    if (connection !== undefined) {
      abandon(connection);
    }
  }
}
