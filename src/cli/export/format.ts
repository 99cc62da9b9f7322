/** Events as rows for other tools: NDJSON, CSV, Parquet. The columns are those of the table `events` (docs/analysis.md). */
import { createEncoder } from '../../analysis/format.ts';
import type { Event } from '../../log/event.ts';

/** Made event by event; holds no more than its format asks for. */
export interface EventEncoder {
  /** May keep some back. */
  encode(events: readonly Event[]): string | Uint8Array;
  /** What was kept back, and what makes it whole. */
  end(): string | Uint8Array;
}

const COLUMNS = ['position', 'access_id', 'version', 'created_at', 'recorded_at', 'event_id', 'payload'];

/** Milliseconds of the years 1 to 9999: others have no time as text, as in the view `event_history`. */
const FIRST_MS = -62_135_596_800_000;
const LAST_MS = 253_402_300_799_999;

/** An object a line; the payload is JSON in it, letter for letter (G9). */
export function createNdjsonEncoder(): EventEncoder {
  return { encode: (events) => events.map(encodeNdjson).join(''), end: () => '' };
}

function encodeNdjson(event: Event): string {
  return (
    `{"position":${event.position},"access_id":${JSON.stringify(event.accessId)},` +
    `"version":${event.version},"created_at":${event.createdAt},` +
    `"recorded_at":${event.recordedAt},"event_id":${JSON.stringify(event.id)},` +
    `"payload":${event.payload}}\n`
  );
}

/** The payload is its JSON text. Behind the columns of the table both times as text, for people. */
export function createCsvEncoder(): EventEncoder {
  const { head, row, tail } = createEncoder('csv', [...COLUMNS, 'created_time', 'recorded_time']);
  let isBegun = false;
  const begin = (): string => {
    const text = isBegun ? '' : head;
    isBegun = true;
    return text;
  };
  return {
    encode: (events) => begin() + events.map((event) => row(csvCells(event))).join(''),
    end: () => begin() + tail(false),
  };
}

function csvCells(event: Event): (string | number | null)[] {
  const { position, accessId, version, createdAt, recordedAt, id, payload } = event;
  const times = [formatTime(createdAt), formatTime(recordedAt)];
  return [position, accessId, version, createdAt, recordedAt, id, payload, ...times];
}

function formatTime(ms: number): string | null {
  return ms < FIRST_MS || ms > LAST_MS ? null : new Date(ms).toISOString();
}
