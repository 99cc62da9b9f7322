/**
 * Appending to PostgreSQL. Every group of every node takes the same transaction-scoped advisory lock before it
 * numbers its events and holds it to the commit, so position order is commit order (G2): PostgreSQL makes a
 * transaction visible before it lets go of its locks. Readers then need nothing cleverer than `position > cursor`,
 * and a foreign transaction, however long, changes nothing.
 *
 * When the connection is lost between COMMIT and its answer, the outcome is looked up on a new connection: each group
 * has a number, which it writes beside its events (a transaction id would not do: PostgreSQL may give it again after a
 * crash). Whoever has the lock knows that the lost transaction has ended, one way or the other (G1, G4).
 */
import pg from 'pg';
import { LastseenError } from '../../errors.ts';
import type { AppendAnswer, AppendOutcome, AppendRequest, AppendResult } from '../../log/store.ts';
import type { Runtime } from '../../runtime.ts';
import { groupColumnsOf, resultOf } from './columns.ts';
import { abandon, connect, isRefusal, unavailable } from './connection.ts';
import { createFeedVersions } from './feed-versions.ts';
import { APPEND_LOCK, type GroupName, OutcomeUnknown, settle } from './settle.ts';
import { writeGroup } from './transaction.ts';

/** SQLSTATE of an id that is there already. */
const UNIQUE_VIOLATION = '23505';

export interface PostgresAppender {
  append(requests: readonly AppendRequest[]): Promise<AppendAnswer>;
  /** Backend of the connection that appends: its hints are our own. */
  readonly processId: number | undefined;
  close(): void;
}

export interface PostgresAppenderOptions {
  readonly url: string;
  readonly runtime: Runtime;
  /** Send a hint with each commit. Default true; false is for measuring its price. */
  readonly notify?: boolean;
  /** Told the head and epoch that each group found or made. */
  readonly onHead: (head: number, epoch: string) => void;
}

/** A connection that appends, and the name under which its groups are numbered: what one loses, the next does not find. */
interface WriterConnection {
  readonly client: pg.Client;
  readonly writerId: string;
  lastGroup: number;
}

/** Taken before the first statement of a group, so that the name and the number stay together whatever is lost after. */
function nextGroup(connection: WriterConnection): GroupName {
  connection.lastGroup += 1;
  return { writerId: connection.writerId, group: connection.lastGroup };
}

export function createPostgresAppender(options: PostgresAppenderOptions): PostgresAppender {
  const { runtime } = options;
  let current: WriterConnection | undefined;
  let isClosed = false;
  const feedVersions = createFeedVersions();
  const hint = options.notify === false ? '' : 'notify lastseen;';

  async function connected(): Promise<WriterConnection> {
    if (isClosed) {
      throw new LastseenError('ERR_STORE_UNAVAILABLE', 'the store is closed');
    }
    if (current !== undefined) {
      return current;
    }
    const fresh = await connect(options.url, { onLost: drop });
    current = { client: fresh, writerId: runtime.random.uuid(), lastGroup: 0 };
    return current;
  }

  function drop(lost: pg.Client): void {
    if (current?.client === lost) {
      current = undefined;
    }
    feedVersions.clear();
    abandon(lost);
  }

  async function append(requests: readonly AppendRequest[]): Promise<AppendAnswer> {
    const recordedAt = runtime.clock.now();
    try {
      return (await inOneStatement(requests, recordedAt)) ?? (await inTransaction(requests, recordedAt));
    } catch (error) {
      if (error instanceof OutcomeUnknown) {
        return { pending: settle(error, { url: options.url, runtime, isClosed: () => isClosed }) };
      }
      // If the whole group fails on something unforeseen, each request gets a transaction of its own.
      if (isRefusal(error) && requests.length > 1) {
        return appendAlone(requests, recordedAt);
      }
      throw unavailable(error);
    }
  }

  async function appendAlone(requests: readonly AppendRequest[], recordedAt: number): Promise<AppendResult> {
    const outcomes: AppendOutcome[] = [];
    for (const request of requests) {
      try {
        const result = await inTransaction([request], recordedAt).catch((error: unknown) => {
          if (error instanceof OutcomeUnknown) {
            return settle(error, { url: options.url, runtime, isClosed: () => isClosed });
          }
          throw error;
        });
        outcomes.push(...result.outcomes);
      } catch (error) {
        // Its neighbours are appended, whatever becomes of this one.
        outcomes.push({ refused: unavailable(error) });
      }
    }
    return { recordedAt, outcomes };
  }

  /**
   * The way of most groups. `undefined` when it is not theirs: a batch has a key, or an id is there already, so that
   * someone must look before.
   */
  async function inOneStatement(
    requests: readonly AppendRequest[],
    recordedAt: number,
  ): Promise<AppendResult | undefined> {
    if (requests.some(({ key, rows }) => key !== null || rows !== undefined)) {
      return undefined;
    }
    const connection = await connected();
    const columns = groupColumnsOf(requests, feedVersions.versions, recordedAt);
    const name = nextGroup(connection);
    try {
      const { rows } = await connection.client.query<{
        head_before: number;
        epoch: string;
        versions: string[];
      }>('select * from lastseen_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)', [
        APPEND_LOCK,
        name.writerId,
        name.group,
        options.notify !== false,
        recordedAt,
        feedVersions.head,
        columns.names,
        columns.versions,
        columns.nameAt,
        columns.nth,
        columns.accessIds,
        columns.createdAts,
        columns.ids,
        columns.payloads,
      ]);
      const done = rows[0];
      if (done === undefined) {
        throw new Error('lastseen_append has returned nothing');
      }
      const versions = done.versions.map(Number);
      const head = done.head_before + columns.accessIds.length;
      const known = feedVersions.move(done.head_before, head);
      columns.names.forEach((accessId, at) => {
        known.set(accessId, (versions[at] ?? 0) + (columns.counts[at] ?? 0));
      });
      options.onHead(head, done.epoch);
      return resultOf(requests, recordedAt, done.head_before, (at) => {
        return (versions[(columns.nameAt[at] ?? 0) - 1] ?? 0) + (columns.nth[at] ?? 0);
      });
    } catch (error) {
      if (isRefusal(error)) {
        if ((error as pg.DatabaseError).code === UNIQUE_VIOLATION) {
          return undefined;
        }
        throw error;
      }
      drop(connection.client);
      const count = columns.accessIds.length;
      throw new OutcomeUnknown(
        { ...name, events: count },
        async (lastPosition, on) => {
          const first = lastPosition - count + 1;
          const { rows } = await on.query<{ version: number }>(
            'select version from events where position between $1 and $2 order by position',
            [first, lastPosition],
          );
          return resultOf(requests, recordedAt, first - 1, (at) => {
            const row = rows[at];
            if (row === undefined) {
              throw new Error('the events were pruned before they could be answered');
            }
            return row.version;
          });
        },
        error,
      );
    }
  }

  async function inTransaction(
    requests: readonly AppendRequest[],
    recordedAt: number,
  ): Promise<AppendResult> {
    const writer = await connected();
    const name = nextGroup(writer);
    const connection = writer.client;
    try {
      // A node that stands still with the lock in its hand is thrown out.
      const begun = (await connection.query(
        `begin isolation level read committed;
         set local idle_in_transaction_session_timeout = 10000;
         select pg_advisory_xact_lock(${APPEND_LOCK});
         select head, epoch,
                current_setting('synchronous_commit') in ('off', 'local') as is_lax from log`,
      )) as unknown as pg.QueryResult<{ head: number; epoch: string; is_lax: boolean }>[];
      const log = begun[3]?.rows[0];
      if (log === undefined) {
        throw new Error('the table log has no row: this is not a whole lastseen database');
      }
      if (log.is_lax) {
        await connection.query('set local synchronous_commit = on');
      }
      const written = await writeGroup(connection, requests, {
        recordedAt,
        head: log.head,
        knownVersions: feedVersions.at(log.head),
      });
      const { head } = written;
      const result: AppendResult = { recordedAt, outcomes: written.outcomes };
      const count = head - log.head;
      if (count === 0 && !requests.some(({ rows }) => rows !== undefined)) {
        await connection.query('commit');
        return result;
      }
      try {
        await connection.query(
          `update log set head = ${head};
           insert into writers values ('${name.writerId}', now(), ${name.group}, ${head})
             on conflict (writer_id) do update set seen_at = excluded.seen_at,
               last_group = excluded.last_group, last_position = excluded.last_position;
           ${hint} commit`,
        );
      } catch (error) {
        if (isRefusal(error)) {
          throw error;
        }
        throw new OutcomeUnknown({ ...name, events: count }, () => Promise.resolve(result), error);
      }
      const known = feedVersions.move(log.head, head);
      for (const [accessId, version] of written.versions) {
        known.set(accessId, version);
      }
      options.onHead(head, log.epoch);
      return result;
    } catch (error) {
      if (isRefusal(error)) {
        await connection.query('rollback').catch(() => undefined);
      } else {
        drop(connection);
      }
      throw error;
    }
  }

  return {
    append,
    get processId() {
      return (current?.client as unknown as { processID?: number } | undefined)?.processID;
    },
    close() {
      isClosed = true;
      if (current !== undefined) {
        void current.client.end();
      }
    },
  };
}
