/** Events as the arrays that PostgreSQL takes them in. */
import type pg from 'pg';
import type { Event } from '../../log/event.ts';
import type { AppendRequest, AppendResult, Receipt } from '../../log/store.ts';

/** The events of a group in columns, and its access_ids by name. */
export interface GroupColumns {
  readonly names: string[];
  /** Last version of each name as it is remembered. */
  readonly versions: (number | null)[];
  /** Events of each name in the group. */
  readonly counts: number[];
  /** Of each event, the place of its name, from 1, and which of the name's events it is, from 1. */
  readonly nameAt: number[];
  readonly nth: number[];
  readonly accessIds: string[];
  readonly createdAts: number[];
  readonly ids: (string | null)[];
  readonly payloads: string[];
}

export function groupColumnsOf(
  requests: readonly AppendRequest[],
  remembered: ReadonlyMap<string, number>,
  recordedAt: number,
): GroupColumns {
  const columns: GroupColumns = {
    names: [],
    versions: [],
    counts: [],
    nameAt: [],
    nth: [],
    accessIds: [],
    createdAts: [],
    ids: [],
    payloads: [],
  };
  const places = new Map<string, number>();
  for (const { events } of requests) {
    for (const event of events) {
      let place = places.get(event.accessId);
      if (place === undefined) {
        place = columns.names.push(event.accessId);
        places.set(event.accessId, place);
        columns.versions.push(remembered.get(event.accessId) ?? null);
        columns.counts.push(0);
      }
      const nth = (columns.counts[place - 1] ?? 0) + 1;
      columns.counts[place - 1] = nth;
      columns.nameAt.push(place);
      columns.nth.push(nth);
      columns.accessIds.push(event.accessId);
      columns.createdAts.push(event.createdAt ?? recordedAt);
      columns.ids.push(event.id);
      columns.payloads.push(event.payload);
    }
  }
  return columns;
}

/** The receipts of a group of new events only. */
export function resultOf(
  requests: readonly AppendRequest[],
  recordedAt: number,
  headBefore: number,
  versionAt: (at: number) => number,
): AppendResult {
  let at = 0;
  const outcomes = requests.map(({ events }) => ({
    receipts: events.map((): Receipt => {
      const version = versionAt(at);
      at += 1;
      return { position: headBefore + at, version, duplicate: false };
    }),
  }));
  return { recordedAt, outcomes };
}

/** Writes numbered events in one statement. */
export async function insertEvents(connection: pg.Client, events: readonly Event[]): Promise<void> {
  if (events.length === 0) {
    return;
  }
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
