/** Events as rows for other tools, with the columns that the table `events` has for analysts. */
import { createEncoder } from '../../analysis/format.ts';
import type { LogEvent } from '../../log/event.ts';

/** Encodes page by page. It keeps only what its format needs. */
export interface EventEncoder {
  /** May keep events until a later call. */
  encode(events: readonly LogEvent[]): string | Uint8Array;
  /** The events that were kept, and what completes the output. */
  end(): string | Uint8Array;
}

const COLUMNS = ['position', 'access_id', 'version', 'created_at', 'recorded_at', 'event_id', 'payload'];

/** Milliseconds of the years 1 to 9999. Other times have no text, as in the view `event_history`. */
const FIRST_MS = -62_135_596_800_000;
const LAST_MS = 253_402_300_799_999;

/** One object per line. The payload is JSON inside it, unchanged (G9). */
export function createNdjsonEncoder(): EventEncoder {
  return { encode: (events) => events.map(encodeNdjson).join(''), end: () => '' };
}

function encodeNdjson(event: LogEvent): string {
  return (
    `{"position":${event.position},"access_id":${JSON.stringify(event.accessId)},` +
    `"version":${event.version},"created_at":${event.createdAt},` +
    `"recorded_at":${event.recordedAt},"event_id":${JSON.stringify(event.id)},` +
    `"payload":${event.payload}}\n`
  );
}

/** The payload is its JSON text. After the columns of the table come both times as text, for people. */
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
    end: () => begin() + tail({ isTruncated: false }),
  };
}

function csvCells(event: LogEvent): (string | number | null)[] {
  const { position, accessId, version, createdAt, recordedAt, id, payload } = event;
  const times = [formatTime(createdAt), formatTime(recordedAt)];
  return [position, accessId, version, createdAt, recordedAt, id, payload, ...times];
}

function formatTime(ms: number): string | null {
  return ms < FIRST_MS || ms > LAST_MS ? null : new Date(ms).toISOString();
}
