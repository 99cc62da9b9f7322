/** Events as the arrays that statements on PostgreSQL take as parameters. */
import type pg from 'pg';
import type { LogEvent } from '../../log/event.ts';
import type { Lineage } from '../../log/place.ts';
import type { AppendedEvent, AppendRequest, AppendResult } from '../../log/store.ts';

/** The events of a group in columns, and its access_ids by name. */
export interface GroupColumns {
  readonly names: string[];
  /** Last known version of each name. */
  readonly versions: (number | null)[];
  /** Events of each name in the group. */
  readonly counts: number[];
  /** Of each event, the index of its name, and its ordinal among the events of that name. Both count from 1. */
  readonly nameIndexes: number[];
  readonly ordinals: number[];
  readonly accessIds: string[];
  readonly createdAts: number[];
  readonly ids: (string | null)[];
  readonly payloads: string[];
}

export function groupColumnsOf(
  requests: readonly AppendRequest[],
  knownVersions: ReadonlyMap<string, number>,
  recordedAt: number,
): GroupColumns {
  const columns: GroupColumns = {
    names: [],
    versions: [],
    counts: [],
    nameIndexes: [],
    ordinals: [],
    accessIds: [],
    createdAts: [],
    ids: [],
    payloads: [],
  };
  const nameIndexes = new Map<string, number>();
  for (const { events } of requests) {
    for (const event of events) {
      let nameIndex = nameIndexes.get(event.accessId);
      if (nameIndex === undefined) {
        nameIndex = columns.names.push(event.accessId);
        nameIndexes.set(event.accessId, nameIndex);
        columns.versions.push(knownVersions.get(event.accessId) ?? null);
        columns.counts.push(0);
      }
      const ordinal = (columns.counts[nameIndex - 1] ?? 0) + 1;
      columns.counts[nameIndex - 1] = ordinal;
      columns.nameIndexes.push(nameIndex);
      columns.ordinals.push(ordinal);
      columns.accessIds.push(event.accessId);
      columns.createdAts.push(event.createdAt ?? recordedAt);
      columns.ids.push(event.id);
      columns.payloads.push(event.payload);
    }
  }
  return columns;
}

export interface NewEventNumbers {
  readonly recordedAt: number;
  /** Highest position before the group. */
  readonly headBefore: number;
  readonly lineage: Lineage;
  /** Tag of the event with this index in the group. */
  readonly tagAt: (index: number) => number;
  /** Version of the event with this index in the group. */
  readonly versionAt: (index: number) => number;
}

/** The result of a group whose events are all new. */
export function resultOfNewEvents(
  requests: readonly AppendRequest[],
  { recordedAt, lineage, headBefore, tagAt, versionAt }: NewEventNumbers,
): AppendResult {
  let count = 0;
  const outcomes = requests.map(({ events }) => ({
    receipts: events.map((event): AppendedEvent => {
      const tag = tagAt(count);
      const version = versionAt(count);
      count += 1;
      return {
        lineage,
        position: headBefore + count,
        tag,
        accessId: event.accessId,
        version,
        createdAt: event.createdAt ?? recordedAt,
        recordedAt,
        id: event.id,
        payload: event.payload,
        duplicate: false,
      };
    }),
  }));
  return { recordedAt, outcomes };
}

/** Writes numbered events in one statement. */
export async function insertEvents(
  connection: pg.Client,
  events: readonly Omit<LogEvent, 'lineage'>[],
): Promise<void> {
  if (events.length === 0) {
    return;
  }
  await connection.query(
    `insert into events (position, access_id, version, created_at, recorded_at, event_id, payload, tag)
     select position, access_id, version, created_at, recorded_at, event_id, payload, nullif(tag, 0)
     from unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::json[], $8::bigint[])
       as new(position, access_id, version, created_at, recorded_at, event_id, payload, tag)`,
    [
      events.map((event) => event.position),
      events.map((event) => event.accessId),
      events.map((event) => event.version),
      events.map((event) => event.createdAt),
      events.map((event) => event.recordedAt),
      events.map((event) => event.id),
      events.map((event) => event.payload),
      events.map((event) => event.tag),
    ],
  );
}
