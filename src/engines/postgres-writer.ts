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
import { setTimeout as sleep } from 'node:timers/promises';
import { LastseenError } from '../log/errors.ts';
import type { Event } from '../log/event.ts';
import type { AppendOutcome, AppendRequest, AppendResult, Receipt } from '../log/store.ts';
import { abandon, connect, isRefusal, unavailable } from './postgres-connection.ts';
import { conflict } from './refusal.ts';

/** Names the lock among all advisory locks of the database. */
export const APPEND_LOCK = 4_793_211_001;

/** How long the outcome of a commit is asked for when its answer was lost. */
const SETTLE_MS = 20_000;
const SETTLE_PAUSE_MS = 250;

/** Versions of feeds remembered from our own commits, while nobody else has appended. */
const MAX_KNOWN_VERSIONS = 200_000;

export interface PostgresWriter {
  append(requests: readonly AppendRequest[]): Promise<AppendResult>;
  /** Backend of the connection that appends: its hints are our own. */
  readonly processId: number | undefined;
  close(): void;
}

export interface PostgresWriterOptions {
  readonly url: string;
  /** Whose groups these are: no other process has this name. */
  readonly nodeId: string;
  /** Send a hint with each commit. Default true; false is for measuring its price. */
  readonly notify?: boolean;
  /** Told the head and epoch that each group found or made. */
  readonly onHead: (head: number, epoch: string) => void;
}

/** A commit whose answer has not come. */
class OutcomeUnknown extends Error {
  readonly group: number;
  readonly result: AppendResult;
  constructor(group: number, result: AppendResult, cause: unknown) {
    super('the connection was lost while committing', { cause });
    this.group = group;
    this.result = result;
  }
}

interface Stored {
  readonly position: number;
  readonly version: number;
  readonly created_at: number;
  readonly payload: string;
}

interface StoredBatch {
  readonly fingerprint: string;
  readonly first_position: number;
}

/** What the group needs to know of the log before it can be numbered. */
interface Known {
  readonly batches: ReadonlyMap<string, StoredBatch>;
  readonly events: ReadonlyMap<string, Stored>;
  readonly versions: Map<string, number>;
}

const nameOf = (accessId: string, id: string): string => JSON.stringify([accessId, id]);

export function createPostgresWriter(options: PostgresWriterOptions): PostgresWriter {
  let client: pg.Client | undefined;
  let isClosed = false;
  let lastGroup = 0;
  /** The versions hold while the log stands where our last commit left it. */
  let cachedAt = '';
  let cachedVersions = new Map<string, number>();
  const nodeName = pg.escapeLiteral(options.nodeId);
  const hint = options.notify === false ? '' : 'notify lastseen;';

  async function connected(): Promise<pg.Client> {
    if (isClosed)
      throw new LastseenError('ERR_STORE_UNAVAILABLE', 'the store is closed', { temporary: true });
    if (client !== undefined) return client;
    const fresh = await connect(options.url, () => {
      drop(fresh);
    });
    client = fresh;
    return fresh;
  }

  function drop(lost: pg.Client): void {
    if (client === lost) client = undefined;
    cachedAt = '';
    abandon(lost);
  }

  async function append(requests: readonly AppendRequest[]): Promise<AppendResult> {
    const recordedAt = Date.now();
    try {
      return await inTransaction(requests, recordedAt);
    } catch (error) {
      if (error instanceof OutcomeUnknown) return settle(error);
      // If the whole group fails on something unforeseen, each request gets a transaction of its own.
      if (isRefusal(error) && requests.length > 1) return appendAlone(requests, recordedAt);
      throw unavailable(error);
    }
  }

  async function appendAlone(requests: readonly AppendRequest[], recordedAt: number): Promise<AppendResult> {
    const outcomes: AppendOutcome[] = [];
    for (const request of requests) {
      try {
        const { outcomes: one } = await inTransaction([request], recordedAt);
        outcomes.push(...one);
      } catch (error) {
        if (error instanceof OutcomeUnknown) outcomes.push(...(await settle(error)).outcomes);
        else outcomes.push({ refused: unavailable(error) });
      }
    }
    return { recordedAt, outcomes };
  }

  async function inTransaction(
    requests: readonly AppendRequest[],
    recordedAt: number,
  ): Promise<AppendResult> {
    const connection = await connected();
    try {
      // A node that stands still with the lock in its hand is thrown out.
      const begun = (await connection.query(
        `begin isolation level read committed;
         set local idle_in_transaction_session_timeout = 10000;
         select pg_advisory_xact_lock(${String(APPEND_LOCK)});
         select head, epoch,
                current_setting('synchronous_commit') in ('off', 'local') as is_lax from log`,
      )) as unknown as pg.QueryResult<{ head: number; epoch: string; is_lax: boolean }>[];
      const log = begun[3]?.rows[0];
      if (log === undefined)
        throw new Error('the table log has no row: this is not a whole lastseen database');
      if (log.is_lax) await connection.query('set local synchronous_commit = on');
      if (`${log.epoch}.${String(log.head)}` !== cachedAt) cachedVersions = new Map();
      const known = await look(connection, requests);
      const draft = number(requests, log.head, known, recordedAt);
      const result: AppendResult = { recordedAt, outcomes: draft.outcomes };
      await insertEvents(connection, draft.rows);
      for (const batch of draft.batches) await insertBatch(connection, batch);
      const head = log.head + draft.rows.length;
      if (draft.rows.length === 0) {
        await connection.query('commit');
        return result;
      }
      const group = (lastGroup += 1);
      try {
        await connection.query(
          `update log set head = ${String(head)};
           insert into nodes (node_id, seen_at, last_group) values (${nodeName}, now(), ${String(group)})
             on conflict (node_id) do update set last_group = excluded.last_group;
           ${hint} commit`,
        );
      } catch (error) {
        if (isRefusal(error)) throw error;
        throw new OutcomeUnknown(group, result, error);
      }
      committed(`${log.epoch}.${String(head)}`, known.versions, draft.rows);
      options.onHead(head, log.epoch);
      return result;
    } catch (error) {
      if (isRefusal(error)) await connection.query('rollback').catch(() => undefined);
      else drop(connection);
      throw error;
    }
  }

  function committed(at: string, versions: ReadonlyMap<string, number>, rows: readonly Event[]): void {
    cachedAt = at;
    if (cachedVersions.size > MAX_KNOWN_VERSIONS) cachedVersions = new Map();
    for (const [accessId, version] of versions) cachedVersions.set(accessId, version);
    for (const row of rows) cachedVersions.set(row.accessId, row.version);
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
        if (version === undefined) unknown.add(accessId);
        else versions.set(accessId, version);
      }
    }
    const batches = new Map<string, StoredBatch>();
    const events = new Map<string, Stored>();
    if (keys.length > 0) {
      const found = await connection.query<StoredBatch & { key: string }>(
        'select key, fingerprint, first_position from batches where key = any($1)',
        [keys],
      );
      for (const batch of found.rows) batches.set(batch.key, batch);
    }
    if (named.length > 0) {
      const found = await connection.query<Stored & { access_id: string; event_id: string }>(
        `select e.access_id, e.event_id, e.position, e.version, e.created_at, e.payload
         from unnest($1::text[], $2::text[]) as wanted(access_id, event_id)
         join events e on e.access_id = wanted.access_id and e.event_id = wanted.event_id`,
        [named.map((event) => event.accessId), named.map((event) => event.id)],
      );
      for (const row of found.rows) events.set(nameOf(row.access_id, row.event_id), row);
    }
    if (unknown.size > 0) {
      const found = await connection.query<{ access_id: string; version: number | null }>(
        `select wanted.access_id, coalesce(
           (select version from events where access_id = wanted.access_id order by position desc limit 1),
           (select version from feeds where access_id = wanted.access_id)) as version
         from unnest($1::text[]) as wanted(access_id)`,
        [[...unknown]],
      );
      for (const row of found.rows) versions.set(row.access_id, row.version ?? 0);
    }
    // Receipts of a repeated batch name the versions of its events.
    for (const batch of batches.values()) await readBatch(connection, batch, requests, events);
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
    for (const row of found.rows) into.set(String(row.position), row);
  }

  async function insertBatch(connection: pg.Client, batch: readonly unknown[]): Promise<void> {
    await connection.query('insert into batches values ($1, $2, $3, $4)', [...batch]);
  }

  /** Asks what became of a commit until the server says. @throws ERR_STORE_UNAVAILABLE, ERR_OUTCOME_UNKNOWN */
  async function settle(attempt: OutcomeUnknown): Promise<AppendResult> {
    const deadline = Date.now() + SETTLE_MS;
    while (Date.now() < deadline && !isClosed) {
      const isThere = await isCommitted(attempt.group);
      if (isThere === true) return attempt.result;
      if (isThere === false) throw unavailable(attempt);
      await sleep(SETTLE_PAUSE_MS);
    }
    const message =
      'the store was lost while it committed, and has not come back to say whether it did: push again with the same ids or Idempotency-Key';
    throw new LastseenError('ERR_OUTCOME_UNKNOWN', message, { temporary: true, cause: attempt });
  }

  /** Whether the group is on disk; `undefined` while the server cannot be asked. */
  async function isCommitted(group: number): Promise<boolean | undefined> {
    try {
      const connection = await connected();
      // The lost transaction held the lock: with the lock in our hand it has ended.
      await connection.query(`begin; select pg_advisory_xact_lock(${String(APPEND_LOCK)})`);
      const found = await connection.query<{ last_group: number }>(
        'select last_group from nodes where node_id = $1',
        [options.nodeId],
      );
      await connection.query('commit');
      return found.rows[0]?.last_group === group;
    } catch {
      if (client !== undefined) drop(client);
      return undefined;
    }
  }

  return {
    append,
    get processId() {
      return (client as unknown as { processID?: number } | undefined)?.processID;
    },
    close() {
      isClosed = true;
      if (client !== undefined) void client.end();
    },
  };
}

/** Writes numbered events in one statement. */
export async function insertEvents(connection: pg.Client, events: readonly Event[]): Promise<void> {
  if (events.length === 0) return;
  await connection.query(
    `insert into events (position, access_id, version, created_at, recorded_at, event_id, payload)
     select * from unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::json[])`,
    [
      events.map((event) => event.position),
      events.map((event) => event.accessId),
      events.map((event) => event.version),
      events.map((event) => event.createdAt),
      events.map((event) => event.recordedAt),
      events.map((event) => event.id),
      events.map((event) => event.payload),
    ],
  );
}

interface Draft {
  readonly outcomes: AppendOutcome[];
  readonly rows: Event[];
  readonly batches: (readonly [key: string, fingerprint: string, first: number, last: number])[];
}

/** Gives every new event of the group its position and version; refuses what conflicts. Pure. */
function number(requests: readonly AppendRequest[], head: number, known: Known, recordedAt: number): Draft {
  const draft: Draft = { outcomes: [], rows: [], batches: [] };
  /** What this group itself appends: its later requests may repeat it. */
  const fresh = new Map<string, Stored>();
  const batches = new Map(known.batches);
  for (const request of requests) draft.outcomes.push(numberOne(request));
  return draft;

  function numberOne(request: AppendRequest): AppendOutcome {
    const { events, key } = request;
    const earlier = key === null ? undefined : batches.get(key.value);
    if (earlier !== undefined) {
      if (earlier.fingerprint !== key?.fingerprint) return { refused: conflict(request, -1) };
      return { receipts: repeated(request, earlier.first_position) };
    }
    const receipts: Receipt[] = [];
    const rows: Event[] = [];
    const named = new Map<string, Stored>();
    const versions = new Map<string, number>();
    for (const [index, event] of events.entries()) {
      const name = event.id === null ? undefined : nameOf(event.accessId, event.id);
      const stored =
        name === undefined ? undefined : (named.get(name) ?? fresh.get(name) ?? known.events.get(name));
      if (stored !== undefined) {
        const isSame =
          stored.payload === event.payload &&
          (event.createdAt === null || event.createdAt === stored.created_at);
        if (!isSame) return { refused: conflict(request, index) };
        receipts.push({ position: stored.position, version: stored.version, duplicate: true });
        continue;
      }
      const version = (versions.get(event.accessId) ?? known.versions.get(event.accessId) ?? 0) + 1;
      const position = head + draft.rows.length + rows.length + 1;
      versions.set(event.accessId, version);
      const createdAt = event.createdAt ?? recordedAt;
      rows.push({ position, recordedAt, ...event, version, createdAt });
      if (name !== undefined)
        named.set(name, { position, version, created_at: createdAt, payload: event.payload });
      receipts.push({ position, version, duplicate: false });
    }
    const first = head + draft.rows.length + 1;
    draft.rows.push(...rows);
    for (const [accessId, version] of versions) known.versions.set(accessId, version);
    for (const [name, stored] of named) fresh.set(name, stored);
    if (key !== null) {
      const last = head + draft.rows.length;
      draft.batches.push([key.value, key.fingerprint, first, last]);
      batches.set(key.value, { fingerprint: key.fingerprint, first_position: first });
    }
    return { receipts };
  }

  /** The receipts of a batch that was appended before under its key: its new events stand in a row from `first`. */
  function repeated(request: AppendRequest, first: number): Receipt[] {
    let next = first;
    return request.events.map((event) => {
      const name = event.id === null ? undefined : nameOf(event.accessId, event.id);
      const byId = name === undefined ? undefined : (fresh.get(name) ?? known.events.get(name));
      const position = byId?.position ?? next;
      if (position === next) next += 1;
      const version =
        byId?.version ??
        known.events.get(String(position))?.version ??
        draft.rows[position - head - 1]?.version;
      return { position, version: version ?? 0, duplicate: true };
    });
  }
}
