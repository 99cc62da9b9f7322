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
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { LastseenError } from '../../errors.ts';
import type { Event } from '../../log/event.ts';
import type { AppendAnswer, AppendOutcome, AppendRequest, AppendResult } from '../../log/store.ts';
import { columnsOf, insertEvents, resultOf } from './columns.ts';
import { abandon, connect, isRefusal, unavailable } from './connection.ts';
import { type Known, nameOf, number, type Stored, type StoredBatch } from './numbering.ts';
import { APPEND_LOCK, type GroupName, OutcomeUnknown, settle } from './settle.ts';

/** SQLSTATE of an id that is there already. */
const UNIQUE_VIOLATION = '23505';

/** Versions of feeds remembered from our own commits, while nobody else has appended. */
const MAX_KNOWN_VERSIONS = 200_000;

export interface PostgresAppender {
  append(requests: readonly AppendRequest[]): Promise<AppendAnswer>;
  /** Backend of the connection that appends: its hints are our own. */
  readonly processId: number | undefined;
  close(): void;
}

export interface PostgresAppenderOptions {
  readonly url: string;
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
  let current: WriterConnection | undefined;
  let isClosed = false;
  /** The versions hold while the log stands where our last commit left it. */
  let cachedHead = -1;
  let cachedVersions = new Map<string, number>();
  const hint = options.notify === false ? '' : 'notify lastseen;';

  async function connected(): Promise<WriterConnection> {
    if (isClosed) {
      throw new LastseenError('ERR_STORE_UNAVAILABLE', 'the store is closed');
    }
    if (current !== undefined) {
      return current;
    }
    const fresh = await connect(options.url, () => {
      drop(fresh);
    });
    current = { client: fresh, writerId: randomUUID(), lastGroup: 0 };
    return current;
  }

  function drop(lost: pg.Client): void {
    if (current?.client === lost) {
      current = undefined;
    }
    cachedHead = -1;
    abandon(lost);
  }

  async function append(requests: readonly AppendRequest[]): Promise<AppendAnswer> {
    const recordedAt = Date.now();
    try {
      return (await inOneStatement(requests, recordedAt)) ?? (await inTransaction(requests, recordedAt));
    } catch (error) {
      if (error instanceof OutcomeUnknown) {
        return { pending: settle(options.url, error, () => isClosed) };
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
            return settle(options.url, error, () => isClosed);
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
    const columns = columnsOf(requests, cachedVersions, recordedAt);
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
        cachedHead,
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
      if (cachedHead !== done.head_before || cachedVersions.size > MAX_KNOWN_VERSIONS) {
        cachedVersions = new Map();
      }
      columns.names.forEach((name, at) => {
        cachedVersions.set(name, (versions[at] ?? 0) + (columns.counts[at] ?? 0));
      });
      cachedHead = head;
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
      if (log.head !== cachedHead) {
        cachedVersions = new Map();
      }
      const known = await look(connection, requests);
      const changed = await writeRows(connection, requests);
      const draft = number(requests, log.head, known, recordedAt, changed);
      const result: AppendResult = { recordedAt, outcomes: draft.outcomes };
      await insertEvents(connection, draft.rows);
      for (const batch of draft.batches) {
        await insertBatch(connection, batch);
      }
      const head = log.head + draft.rows.length;
      if (draft.rows.length === 0 && !requests.some(({ rows }) => rows !== undefined)) {
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
        throw new OutcomeUnknown(
          { ...name, events: draft.rows.length },
          () => Promise.resolve(result),
          error,
        );
      }
      committed(head, known.versions, draft.rows);
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

  function committed(head: number, versions: ReadonlyMap<string, number>, rows: readonly Event[]): void {
    cachedHead = head;
    if (cachedVersions.size > MAX_KNOWN_VERSIONS) {
      cachedVersions = new Map();
    }
    for (const [accessId, version] of versions) {
      cachedVersions.set(accessId, version);
    }
    for (const row of rows) {
      cachedVersions.set(row.accessId, row.version);
    }
  }

  /** Reads before anything is written, under the lock: nobody else can change what is found. */
  async function look(connection: pg.Client, requests: readonly AppendRequest[]): Promise<Known> {
    const keys = requests.flatMap(({ key }) => (key === null ? [] : [key.value]));
    const named = requests.flatMap(({ events }) => events.filter((event) => event.id !== null));
    const unknown = new Set<string>();
    const versions = new Map<string, number>();
    for (const { events } of requests) {
      for (const { accessId } of events) {
        const version = cachedVersions.get(accessId);
        if (version === undefined) {
          unknown.add(accessId);
        } else {
          versions.set(accessId, version);
        }
      }
    }
    const batches = new Map<string, StoredBatch>();
    const events = new Map<string, Stored>();
    if (keys.length > 0) {
      const found = await connection.query<StoredBatch & { key: string }>(
        'select key, fingerprint, first_position from batches where key = any($1)',
        [keys],
      );
      for (const batch of found.rows) {
        batches.set(batch.key, batch);
      }
    }
    if (named.length > 0) {
      const found = await connection.query<Stored & { access_id: string; event_id: string }>(
        `select e.access_id, e.event_id, e.position, e.version, e.created_at, e.payload
         from unnest($1::text[], $2::text[]) as wanted(access_id, event_id)
         join events e on e.access_id = wanted.access_id and e.event_id = wanted.event_id`,
        [named.map((event) => event.accessId), named.map((event) => event.id)],
      );
      for (const row of found.rows) {
        events.set(nameOf(row.access_id, row.event_id), row);
      }
    }
    if (unknown.size > 0) {
      const found = await connection.query<{ access_id: string; version: number | null }>(
        `select wanted.access_id, coalesce(
           (select version from events where access_id = wanted.access_id order by position desc limit 1),
           (select version from feeds where access_id = wanted.access_id)) as version
         from unnest($1::text[]) as wanted(access_id)`,
        [[...unknown]],
      );
      for (const row of found.rows) {
        versions.set(row.access_id, row.version ?? 0);
      }
    }
    // Receipts of a repeated batch name the versions of its events.
    for (const batch of batches.values()) {
      await readBatch(connection, batch, requests, events);
    }
    return { batches, events, versions };
  }

  /** The events of a batch that was appended before, by their position. */
  async function readBatch(
    connection: pg.Client,
    batch: StoredBatch,
    requests: readonly AppendRequest[],
    into: Map<string, Stored>,
  ): Promise<void> {
    const longest = Math.max(...requests.map(({ events }) => events.length));
    const found = await connection.query<Stored>(
      'select position, version, created_at, payload from events where position >= $1 order by position limit $2',
      [batch.first_position, longest],
    );
    for (const row of found.rows) {
      into.set(String(row.position), row);
    }
  }

  /** Writes the rows that requests bring, each request's all or none. Gives the places of those that did not fit. */
  async function writeRows(
    connection: pg.Client,
    requests: readonly AppendRequest[],
  ): Promise<ReadonlySet<number>> {
    const changed = new Set<number>();
    for (const [at, { rows }] of requests.entries()) {
      if (rows === undefined) {
        continue;
      }
      await connection.query('savepoint rows');
      for (const { sql, bindings, rows: expected } of rows) {
        const { rowCount } = await connection.query(sql, [...bindings]);
        if (expected === undefined || rowCount === expected) {
          continue;
        }
        await connection.query('rollback to rows');
        changed.add(at);
        break;
      }
    }
    return changed;
  }

  async function insertBatch(connection: pg.Client, batch: readonly unknown[]): Promise<void> {
    await connection.query('insert into batches values ($1, $2, $3, $4)', [...batch]);
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
