/**
 * Writes a group in a transaction that first looks up what the log holds: for batches with a key, for requests that change
 * rows of identity, and for groups with an id that the log has already. Every look-up runs under the append lock, so no
 * other node can change its result.
 */
import type pg from 'pg';
import type { LogEvent } from '../../log/event.ts';
import type { Lineage } from '../../log/place.ts';
import type { AppendOutcome, AppendRequest, RowChange } from '../../log/store.ts';
import { type AppendColumns, columnsOf, emptyReceipts, outcomesOf, partsOf } from '../group.ts';
import { createNumbering, eventName, type StoredBatch, type StoredEvent } from '../numbering.ts';
import { insertEvents } from './columns.ts';

/** A group that is numbered and written, and not committed yet. */
export interface WrittenGroup {
  readonly outcomes: AppendOutcome[];
  /** Highest position after the group. */
  readonly head: number;
  /** Last versions of the feeds that the group names, after it. */
  readonly versions: ReadonlyMap<string, number>;
}

export interface GroupContext {
  readonly recordedAt: number;
  /** Of the places of the receipts. */
  readonly lineage: Lineage;
  /** Tag of every event of the group. */
  readonly tag: number;
  /** Highest position before the group. */
  readonly head: number;
  /** Last versions that are known already. */
  readonly knownVersions: ReadonlyMap<string, number>;
}

/** Writes what can be appended, on a connection whose transaction holds the append lock. */
export async function writeGroup(
  connection: pg.Client,
  requests: readonly AppendRequest[],
  { recordedAt, lineage, tag, head, knownVersions }: GroupContext,
): Promise<WrittenGroup> {
  const columns = columnsOf(requests);
  const receipts = emptyReceipts(columns);
  const events: LogEvent[] = [];
  const batches: (readonly [key: string, fingerprint: string, first: number, last: number, tag: number])[] =
    [];
  const known = await loadKnown(connection, columns, knownVersions);
  const numbering = createNumbering({
    lookups: {
      batch: (key) => known.batches.get(key),
      event: (accessId, id) => known.events.get(eventName(accessId, id)),
      versionAt: (position) => events[position - head - 1]?.version ?? known.versionsAt.get(position) ?? 0,
      headVersion: (accessId) => known.versions.get(accessId) ?? 0,
    },
    insertEvent({ index, position, accessId, version, createdAt }) {
      const id = columns.ids[index] ?? null;
      const payload = columns.payloads[index] ?? '';
      const event = { lineage, position, tag, accessId, version, createdAt, recordedAt, id, payload };
      events.push(event);
      if (id !== null) {
        known.events.set(eventName(accessId, id), event);
      }
    },
    insertBatch(key, batch) {
      batches.push([key, batch.fingerprint, batch.firstPosition, batch.lastPosition, batch.tag]);
      known.batches.set(key, batch);
    },
  });
  numbering.begin({ columns, head, recordedAt, tag, receipts });
  for (const part of partsOf(columns)) {
    const checked = numbering.check(part);
    if (checked === 'repeated') {
      continue;
    }
    if (!('stored' in checked)) {
      receipts.refusals.set(part.request, checked);
    } else if (await writeRows(connection, columns.rows.get(part.request))) {
      numbering.assign(part, checked);
    } else {
      receipts.refusals.set(part.request, { changed: true });
    }
  }
  await insertEvents(connection, events);
  for (const batch of batches) {
    await connection.query('insert into batches values ($1, $2, $3, $4, $5)', [...batch]);
  }
  return {
    outcomes: outcomesOf(requests, receipts, { lineage, recordedAt }),
    head: numbering.head,
    versions: new Map([...known.versions, ...numbering.versions]),
  };
}

/** What the group needs to know of the log; numbering adds to it what the group itself appends. */
interface LoadedLog {
  /** By key. */
  readonly batches: Map<string, StoredBatch>;
  /** By name. */
  readonly events: Map<string, StoredEvent>;
  /** Last version by access_id. */
  readonly versions: ReadonlyMap<string, number>;
  /** Versions of the events of repeated batches, by position: receipts name them. */
  readonly versionsAt: ReadonlyMap<number, number>;
}

/** Reads whatever numbering may look up, in as few statements as there are kinds. */
async function loadKnown(
  connection: pg.Client,
  columns: AppendColumns,
  knownVersions: ReadonlyMap<string, number>,
): Promise<LoadedLog> {
  const batches = await loadBatches(connection, columns);
  const events = await loadEvents(connection, columns);
  const versions = await loadVersions(connection, columns, knownVersions);
  const versionsAt = new Map<number, number>();
  for (const { firstPosition } of batches.values()) {
    await loadVersionsFrom(connection, { firstPosition, limit: Math.max(...columns.counts) }, versionsAt);
  }
  for (const { position, version } of events.values()) {
    versionsAt.set(position, version);
  }
  return { batches, events, versions, versionsAt };
}

async function loadBatches(connection: pg.Client, columns: AppendColumns): Promise<Map<string, StoredBatch>> {
  const keys = columns.keys.flatMap((key) => (key === null ? [] : [key.value]));
  if (keys.length === 0) {
    return new Map();
  }
  const { rows } = await connection.query<StoredBatch & { key: string }>(
    'select key, fingerprint, first_position as "firstPosition", tag from batches where key = any($1)',
    [keys],
  );
  return new Map(rows.map((row) => [row.key, row]));
}

async function loadEvents(connection: pg.Client, columns: AppendColumns): Promise<Map<string, StoredEvent>> {
  const accessIds: string[] = [];
  const ids: string[] = [];
  columns.ids.forEach((id, index) => {
    if (id !== null) {
      accessIds.push(columns.accessIds[index] ?? '');
      ids.push(id);
    }
  });
  if (ids.length === 0) {
    return new Map();
  }
  const { rows } = await connection.query<StoredEvent & { access_id: string; event_id: string }>(
    `select e.access_id, e.event_id, e.position, coalesce(e.tag, 0) as tag, e.version,
            e.created_at as "createdAt", e.payload
     from unnest($1::text[], $2::text[]) as wanted(access_id, event_id)
     join events e on e.access_id = wanted.access_id and e.event_id = wanted.event_id`,
    [accessIds, ids],
  );
  return new Map(rows.map((row) => [eventName(row.access_id, row.event_id), row]));
}

async function loadVersions(
  connection: pg.Client,
  columns: AppendColumns,
  knownVersions: ReadonlyMap<string, number>,
): Promise<Map<string, number>> {
  const versions = new Map<string, number>();
  const unknown: string[] = [];
  for (const accessId of new Set(columns.accessIds)) {
    const version = knownVersions.get(accessId);
    if (version === undefined) {
      unknown.push(accessId);
    } else {
      versions.set(accessId, version);
    }
  }
  if (unknown.length > 0) {
    const { rows } = await connection.query<{ access_id: string; version: number | null }>(
      `select wanted.access_id, coalesce(
         (select version from events where access_id = wanted.access_id order by position desc limit 1),
         (select version from feeds where access_id = wanted.access_id)) as version
       from unnest($1::text[]) as wanted(access_id)`,
      [unknown],
    );
    for (const row of rows) {
      versions.set(row.access_id, row.version ?? 0);
    }
  }
  return versions;
}

/** The versions of the events from `firstPosition` on, by their position. */
async function loadVersionsFrom(
  connection: pg.Client,
  { firstPosition, limit }: { readonly firstPosition: number; readonly limit: number },
  versionsAt: Map<number, number>,
): Promise<void> {
  const { rows } = await connection.query<{ position: number; version: number }>(
    'select position, version from events where position >= $1 order by position limit $2',
    [firstPosition, limit],
  );
  for (const { position, version } of rows) {
    versionsAt.set(position, version);
  }
}

/** Writes the rows of a request, all or none. Returns false when a row that it must change is not as expected. */
async function writeRows(connection: pg.Client, rows: readonly RowChange[] | undefined): Promise<boolean> {
  if (rows === undefined) {
    return true;
  }
  await connection.query('savepoint rows');
  for (const { sql, bindings, rows: expected } of rows) {
    const { rowCount } = await connection.query(sql, [...bindings]);
    if (expected !== undefined && rowCount !== expected) {
      await connection.query('rollback to rows');
      return false;
    }
  }
  return true;
}
