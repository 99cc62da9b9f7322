/**
 * Finds the outcome of a commit whose answer was lost. Each group writes its number beside its events: under the append
 * lock, the number says whether the group was appended. If it was not, its number is first marked as used, so that a
 * statement still on its way appends nothing later (G1, G4).
 *
 * “Not appended” is said only of the same server on the same timeline (G14). After a promotion, or on another server, a
 * group that is missing may stand in the log of the lost primary, which may come back: its outcome stays unknown.
 */
import type pg from 'pg';
import { LastseenError } from '../../errors.ts';
import type { AppendResult } from '../../log/store.ts';
import { type Runtime, sleep } from '../../runtime.ts';
import { connect, type Connection, destroyConnection, isUnreplicated, toStoreError } from './connection.ts';
import { isSameServer, isSameTimeline, readServerState, type ServerIdentity } from './server-identity.ts';

/** Names the lock among all advisory locks of the database. */
export const APPEND_LOCK = 4_793_211_001;

/** Time to find the outcome: after it, the outcome is unknown. */
const SETTLE_MS = 20_000;
const SETTLE_PAUSE_MS = 250;

/** Identifies a group: the name of the connection that appends it, and its number there. */
export interface GroupName {
  readonly writerId: string;
  readonly group: number;
  /** The server to which it was sent. */
  readonly server: ServerIdentity;
}

/** A commit without an answer. */
export class OutcomeUnknown extends Error {
  readonly writerId: string;
  readonly group: number;
  readonly server: ServerIdentity;
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
    this.server = group.server;
    this.events = group.events;
    this.resultAt = found;
  }
}

/**
 * Asks for the outcome until the server answers. @throws ERR_STORE_UNAVAILABLE when nothing was appended,
 * ERR_OUTCOME_UNKNOWN when another server answers and lacks the group, and after 20 s
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
    if (found === 'elsewhere') {
      throw unknown(
        attempt,
        'the store was lost while it committed, and the server that has taken over does not have the events, which the lost one may have',
      );
    }
    if (found !== undefined) {
      return found;
    }
    await sleep(timers, SETTLE_PAUSE_MS);
  }
  throw unknown(
    attempt,
    'the store was lost while it committed, and has not come back to say whether it did',
  );
}

function unknown(cause: OutcomeUnknown, reason: string): LastseenError {
  const message = `${reason}: push again with the same ids or Idempotency-Key`;
  return new LastseenError('ERR_OUTCOME_UNKNOWN', message, { cause });
}

/** `elsewhere`: not here, but perhaps on the server that was lost. */
type Missing = 'absent' | 'elsewhere';

/** The result of the group if it was appended; `undefined` if the server cannot be reached. */
async function findGroup(url: string, attempt: OutcomeUnknown): Promise<AppendResult | Missing | undefined> {
  let connection: Connection | undefined;
  try {
    connection = await connect(url);
    const warnings: unknown[] = [];
    connection.on('notice', (notice) => {
      if (isUnreplicated(notice)) {
        warnings.push(notice);
      }
    });
    // Under the lock the lost transaction has ended, or has not begun: then it finds its number used.
    await connection.query(`begin; select pg_advisory_xact_lock(${APPEND_LOCK})`);
    const { rows } = await connection.query<{ last_group: number; last_position: number }>(
      'select last_group, last_position from writers where writer_id = $1',
      [attempt.writerId],
    );
    const left = rows[0];
    // A name of which no group was appended has position 0, which no event has.
    const isAppended = left?.last_group === attempt.group && left.last_position >= attempt.events;
    const result = isAppended ? await attempt.resultAt(left.last_position, connection) : undefined;
    // Written in both cases. A commit that was found may not be on the synchronous standby: this one waits for both.
    await connection.query(
      `insert into writers values ($1, now(), $2, 0)
       on conflict (writer_id) do update set last_group = excluded.last_group, seen_at = excluded.seen_at`,
      [attempt.writerId, attempt.group + (isAppended ? 0 : 1)],
    );
    await connection.query('commit');
    const { identity } = await readServerState(connection);
    if (warnings.length > 0 || !isSameServer(identity, connection.identity)) {
      return undefined;
    }
    return result ?? (isSameTimeline(attempt.server, connection.identity) ? 'absent' : 'elsewhere');
  } catch {
    return undefined;
  } finally {
    if (connection !== undefined) {
      destroyConnection(connection);
    }
  }
}
