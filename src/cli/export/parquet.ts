/**
 * Events as Parquet. Rows wait until a row group is full and are then written as columns. A group has a limit of rows and of
 * bytes, so memory does not grow with the export, except for the footer: about 0.5 KB per group.
 */
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { eventBytes, type LogEvent } from '../../log/event.ts';
import type { EventEncoder } from './format.ts';

type Column = Parameters<ParquetWriter['write']>[0]['columnData'][number];

const GROUP_ROWS = 32_768;
/** As `eventBytes` counts them. */
const GROUP_BYTES = 16 * 1024 * 1024;

/**
 * Times are milliseconds, as in the table. The payload has the type text and not JSON: for JSON the writer prints the value
 * again and JavaScript readers parse it, which changes numbers (G9). With the newer logical type alone, DuckDB 1.x reads
 * bytes.
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
  let group: LogEvent[] = [];
  let bytes = 0;

  function writeGroup(): void {
    // The promise is for sinks that wait. This one takes bytes at once.
    void parquet.write({
      rowGroupSize: group.length,
      columnData: [
        integers('position', (event) => event.position),
        texts('access_id', (event) => event.accessId),
        integers('version', (event) => event.version),
        integers('created_at', (event) => event.createdAt),
        integers('recorded_at', (event) => event.recordedAt),
        texts('event_id', (event) => event.id),
        // Statistics of payloads are of no use. Encoded here: a small Buffer shares memory with others.
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

  function integers(name: string, valueOf: (event: LogEvent) => number): Column {
    return {
      name,
      data: group.map((event) => BigInt(valueOf(event))),
      encoding: 'DELTA_BINARY_PACKED',
      offsetIndex: false,
    };
  }

  function texts(name: string, valueOf: (event: LogEvent) => string | null): Column {
    return { name, data: group.map(valueOf), offsetIndex: false };
  }

  /** The bytes written since the last call. The writer then reuses its buffer. */
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
