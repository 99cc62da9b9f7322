/**
 * Finds the outcome of a commit whose answer was lost. Each group writes its number beside its events: under the append
 * lock, the number says whether the group was appended. If it was not, its number is first marked as used, so that a
 * statement still on its way appends nothing later (G1, G4).
 */
import type pg from 'pg';
import { LastseenError } from '../../errors.ts';
import type { AppendResult } from '../../log/store.ts';
import { type Runtime, sleep } from '../../runtime.ts';
import { connect, destroyConnection, toStoreError } from './connection.ts';

/** Names the lock among all advisory locks of the database. */
export const APPEND_LOCK = 4_793_211_001;

/** Time to find the outcome: after it, the outcome is unknown. */
const SETTLE_MS = 20_000;
const SETTLE_PAUSE_MS = 250;

/** Identifies a group: the name of the connection that appends it, and its number there. */
export interface GroupName {
  readonly writerId: string;
  readonly group: number;
}

/** A commit without an answer. */
export class OutcomeUnknown extends Error {
  readonly writerId: string;
  readonly group: number;
  /** Number of its events: if the group was appended, its last position is at least this. */
  readonly events: number;
  /** The result of the group if it was appended, given the position of its last event. */
  readonly resultAt: (lastPosition: number, connection: pg.Client) => Promise<AppendResult>;
  constructor(
    group: GroupName & { readonly events: number },
    found: OutcomeUnknown['resultAt'],
    cause: unknown,
  ) {
    super('the connection was lost while committing', { cause });
    this.writerId = group.writerId;
    this.group = group.group;
    this.events = group.events;
    this.resultAt = found;
  }
}

/**
 * Asks for the outcome until the server answers. @throws ERR_STORE_UNAVAILABLE when nothing was appended,
 * ERR_OUTCOME_UNKNOWN after 20 s
 */
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
    const found = await findGroup(url, attempt);
    if (found === 'absent') {
      throw toStoreError(attempt);
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

/** The result of the group if it was appended; `undefined` if the server cannot be reached. */
async function findGroup(url: string, attempt: OutcomeUnknown): Promise<AppendResult | 'absent' | undefined> {
  let connection: pg.Client | undefined;
  try {
    connection = await connect(url);
    // Under the lock the lost transaction has ended, or has not begun: then it finds its number used.
    await connection.query(`begin; select pg_advisory_xact_lock(${APPEND_LOCK})`);
    const { rows } = await connection.query<{ last_group: number; last_position: number }>(
      'select last_group, last_position from writers where writer_id = $1',
      [attempt.writerId],
    );
    const left = rows[0];
    // A name of which no group was appended has position 0, which no event has.
    if (left?.last_group === attempt.group && left.last_position >= attempt.events) {
      return await attempt.resultAt(left.last_position, connection);
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
      destroyConnection(connection);
    }
  }
}
