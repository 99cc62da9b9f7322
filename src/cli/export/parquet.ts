/**
 * Events as Parquet. Rows are held until a group of them is full, then written as columns: groups are bounded in rows
 * and in bytes, so memory does not grow with the export. What does is the footer: about half a KB a group.
 */
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { type Event, eventBytes } from '../../log/event.ts';
import type { EventEncoder } from './format.ts';

type Column = Parameters<ParquetWriter['write']>[0]['columnData'][number];

const GROUP_ROWS = 32_768;
/** As `eventBytes` counts them. */
const GROUP_BYTES = 16 * 1024 * 1024;

/**
 * Times are the table's milliseconds. The payload is text, not of the type JSON: for that the writer prints it anew and
 * readers in JavaScript parse it, which changes numbers (G9), and under its newer name alone DuckDB 1.x takes it for bytes.
 */
const SCHEMA: ConstructorParameters<typeof ParquetWriter>[0]['schema'] = [
  { name: 'root', num_children: 7 },
  { name: 'position', type: 'INT64', repetition_type: 'REQUIRED' },
  { name: 'access_id', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'version', type: 'INT64', repetition_type: 'REQUIRED' },
  { name: 'created_at', type: 'INT64', repetition_type: 'REQUIRED' },
  { name: 'recorded_at', type: 'INT64', repetition_type: 'REQUIRED' },
  { name: 'event_id', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
  { name: 'payload', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
];

export function createParquetEncoder(): EventEncoder {
  const writer = new ByteWriter();
  const parquet = new ParquetWriter({ writer, schema: SCHEMA, createdBy: 'lastseen' });
  let group: Event[] = [];
  let bytes = 0;

  function writeGroup(): void {
    // The writer's promise is for sinks that wait: ours takes bytes at once.
    void parquet.write({
      rowGroupSize: group.length,
      columnData: [
        integers('position', (event) => event.position),
        texts('access_id', (event) => event.accessId),
        integers('version', (event) => event.version),
        integers('created_at', (event) => event.createdAt),
        integers('recorded_at', (event) => event.recordedAt),
        texts('event_id', (event) => event.id),
        // Nobody asks for the least payload. Encoded here, into memory that is shared.
        {
          name: 'payload',
          data: group.map((event) => Buffer.from(event.payload)),
          statistics: false,
          offsetIndex: false,
        },
      ],
    });
    group = [];
    bytes = 0;
  }

  function integers(name: string, of: (event: Event) => number): Column {
    return {
      name,
      data: group.map((event) => BigInt(of(event))),
      encoding: 'DELTA_BINARY_PACKED',
      offsetIndex: false,
    };
  }

  function texts(name: string, of: (event: Event) => string | null): Column {
    return { name, data: group.map(of), offsetIndex: false };
  }

  /** What the writer has made since; its buffer is used again. */
  function takeBytes(): Uint8Array {
    const bytesWritten = writer.getBytes().slice();
    writer.index = 0;
    return bytesWritten;
  }

  return {
    encode(events) {
      for (const event of events) {
        group.push(event);
        bytes += eventBytes(event);
        if (group.length >= GROUP_ROWS || bytes >= GROUP_BYTES) {
          writeGroup();
        }
      }
      return takeBytes();
    },
    end() {
      if (group.length > 0) {
        writeGroup();
      }
      void parquet.finish();
      return takeBytes();
    },
  };
}
