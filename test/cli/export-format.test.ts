/** What `lastseen export` writes, read back by readers of others. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type AsyncBuffer, parquetMetadata, parquetReadObjects } from 'hyparquet';
import { createCsvEncoder, createNdjsonEncoder, type EventEncoder } from '../../src/cli/export/format.ts';
import { createParquetEncoder } from '../../src/cli/export/parquet.ts';
import type { LogEvent } from '../../src/log/event.ts';
import { PAYLOADS } from '../engines/contract.ts';
import { parseCsv } from '../support/csv.ts';

const PAGE = 2_000;
const COLUMNS = ['position', 'access_id', 'version', 'created_at', 'recorded_at', 'event_id', 'payload'];

const HOSTILE: readonly LogEvent[] = [
  ...PAYLOADS.map((payload, at) => event(at + 1, { payload })),
  event(100, { accessId: 'Zürich, "日本" 😀\u2028' }),
  event(101, { accessId: 'line\r\nbreak' }),
  event(102, { id: 'é,"\n' }),
  event(103, { createdAt: Number.MAX_SAFE_INTEGER, version: Number.MAX_SAFE_INTEGER }),
  event(104, { createdAt: Number.MIN_SAFE_INTEGER, recordedAt: 0 }),
  event(105, { payload: JSON.stringify('x'.repeat(1_000_000)) }),
  event(Number.MAX_SAFE_INTEGER, {}),
];

const SIZES: readonly (readonly [string, readonly LogEvent[]])[] = [
  ['no event', []],
  ['one event', [event(1, {})]],
  ['hostile values', HOSTILE],
  [
    '50,000 events',
    Array.from({ length: 50_000 }, (_, at) =>
      event(at + 1, { accessId: `a${at % 97}`, payload: `{"n":${at},"of":"Köln"}` }),
    ),
  ],
];

function event(position: number, more: Partial<LogEvent>): LogEvent {
  return {
    lineage: { epoch: 'epoch000' },
    tag: 1,
    position,
    accessId: 'feed',
    version: position,
    createdAt: 1_700_000_000_000 + position,
    recordedAt: 1_763_640_000_000,
    id: position % 2 === 0 ? `id-${position}` : null,
    payload: '{}',
    ...more,
  };
}

/** All that the encoder makes, fed as the command feeds it, and the bytes of it that came before the end. */
function encoded(encoder: EventEncoder, events: readonly LogEvent[]): { bytes: Buffer; early: number } {
  const parts: Buffer[] = [];
  for (let from = 0; from < events.length; from += PAGE) {
    parts.push(Buffer.from(encoder.encode(events.slice(from, from + PAGE))));
  }
  const early = parts.reduce((sum, part) => sum + part.length, 0);
  return { bytes: Buffer.concat([...parts, Buffer.from(encoder.end())]), early };
}

function rowOf(found: LogEvent): (string | number | null)[] {
  const { position, accessId, version, createdAt, recordedAt, id, payload } = found;
  return [position, accessId, version, createdAt, recordedAt, id, payload];
}

describe('NDJSON', () => {
  for (const [name, events] of SIZES) {
    it(`G9: ${name}: a line an event, the payload in it letter for letter`, () => {
      const text = encoded(createNdjsonEncoder(), events).bytes.toString('utf8');
      const lines = text.split('\n');
      assert.equal(lines.pop(), '');
      assert.equal(lines.length, events.length);
      for (const [at, line] of lines.entries()) {
        const wanted = events[at];
        assert.ok(wanted !== undefined && line.endsWith(`,"payload":${wanted.payload}}`), line.slice(0, 200));
        const found = JSON.parse(line) as Record<string, unknown>;
        assert.deepEqual(Object.keys(found), COLUMNS);
        assert.deepEqual(Object.values(found).slice(0, 6), rowOf(wanted).slice(0, 6));
      }
    });
  }
});

describe('CSV', () => {
  for (const [name, events] of SIZES) {
    it(`${name}: RFC 4180, a line of names first, the payload as its JSON text`, () => {
      const [head, ...rows] = parseCsv(encoded(createCsvEncoder(), events).bytes.toString('utf8'));
      assert.deepEqual(
        head?.map(({ text }) => text),
        [...COLUMNS, 'created_time', 'recorded_time'],
      );
      assert.deepEqual(
        rows.map((row) => row.slice(0, 7).map(({ text }) => text)),
        events.map((wanted) => rowOf(wanted).map((value) => String(value ?? ''))),
      );
    });
  }

  it('times stand as text too, where they have one; no id is nothing', () => {
    const events = [event(1, {}), ...HOSTILE.filter(({ position }) => position === 103 || position === 104)];
    const [, ...rows] = parseCsv(encoded(createCsvEncoder(), events).bytes.toString('utf8'));
    assert.deepEqual(
      rows.map((row) => row.slice(7).map(({ text }) => text)),
      [
        ['2023-11-14T22:13:20.001Z', '2025-11-20T12:00:00.000Z'],
        ['', '2025-11-20T12:00:00.000Z'],
        ['', '1970-01-01T00:00:00.000Z'],
      ],
    );
    assert.deepEqual(rows[0]?.[5], { text: '', isQuoted: false });
  });

  it('what a spreadsheet would run as a formula is disarmed', () => {
    const { bytes } = encoded(createCsvEncoder(), [
      event(1, { accessId: '=cmd()', id: '@x', payload: '-1' }),
    ]);
    const [, row] = parseCsv(bytes.toString('utf8'));
    assert.deepEqual(
      [1, 5, 6].map((at) => row?.[at]?.text),
      ["'=cmd()", "'@x", '-1'],
    );
  });
});

describe('Parquet', () => {
  const bufferOf = (bytes: Buffer): ArrayBuffer => new Uint8Array(bytes).buffer;
  const fileOf = (bytes: Buffer): AsyncBuffer => {
    const buffer = bufferOf(bytes);
    return { byteLength: buffer.byteLength, slice: (from, to) => buffer.slice(from, to) };
  };

  for (const [name, events] of SIZES) {
    it(`G9: ${name}: integers of 64 bits, text, and the payload letter for letter`, async () => {
      const { bytes } = encoded(createParquetEncoder(), events);
      const rows = await parquetReadObjects({ file: fileOf(bytes) });
      assert.deepEqual(
        rows.map((row) => COLUMNS.map((column) => row[column] as unknown)),
        events.map((wanted) =>
          rowOf(wanted).map((value) => (typeof value === 'number' ? BigInt(value) : value)),
        ),
      );
      assert.deepEqual(
        parquetMetadata(bufferOf(bytes))
          .schema.slice(1)
          .map((column) => [column.name, column.type, column.converted_type, column.repetition_type]),
        COLUMNS.map((column) =>
          ['access_id', 'event_id', 'payload'].includes(column)
            ? [column, 'BYTE_ARRAY', 'UTF8', column === 'event_id' ? 'OPTIONAL' : 'REQUIRED']
            : [column, 'INT64', undefined, 'REQUIRED'],
        ),
      );
    });
  }

  it('G7: groups are bounded in rows and in bytes, and written when they are full', () => {
    const groupsOf = (bytes: Buffer): number[] =>
      parquetMetadata(bufferOf(bytes)).row_groups.map(({ num_rows: rows }) => Number(rows));
    const many = encoded(createParquetEncoder(), SIZES[3]?.[1] ?? []);
    assert.deepEqual(groupsOf(many.bytes), [32_768, 17_232]);
    assert.ok(many.early > many.bytes.length / 2, 'the first group came before the end');
    const large = Array.from({ length: 20 }, (_, at) =>
      event(at + 1, { payload: `"${'x'.repeat(1_000_000)}"` }),
    );
    assert.deepEqual(groupsOf(encoded(createParquetEncoder(), large).bytes), [9, 9, 2]);
  });
});
