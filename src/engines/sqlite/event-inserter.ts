/**
 * Inserts events, many rows in one statement: a statement for each row takes a third more processor time. Events wait
 * here until a statement is full, a look-up could need them, or the transaction is about to commit.
 */
import type { Database, Statement } from 'better-sqlite3';
import { eventName, type Group, type NumberedEvent } from '../numbering.ts';

/** The events of one transaction on their way into the table. */
export interface EventInserter {
  add(event: NumberedEvent, group: Group): void;
  /** True if the event with this id waits, and is not in the table yet. */
  holds(accessId: string, id: string): boolean;
  /** Inserts the events that wait. Call it before the commit, and before a look-up that could find one of them. */
  flush(): void;
  /** Forgets the events that wait: their transaction was rolled back. */
  clear(): void;
}

/** Rows of the largest statement, and of those for the rest. More rows save no more time. */
const MAX_ROWS = 25;
const REST_ROWS = [5, 1] as const;
const COLUMNS = 8;

/** Creates an inserter on the connection of the writer. */
export function createEventInserter(db: Database): EventInserter {
  const prepare = (rows: number): { rows: number; insert: Statement } => ({
    rows,
    insert: db.prepare(
      `insert into events values ${Array(rows).fill('(?, ?, ?, ?, ?, ?, ?, ?)').join(', ')}`,
    ),
  });
  const { insert: insertMany } = prepare(MAX_ROWS);
  const rest = REST_ROWS.map(prepare);
  /** The values of the rows that wait, one row after the other. The array is written over, never replaced. */
  const values: unknown[] = Array(MAX_ROWS * COLUMNS).fill(null);
  let waiting = 0;
  const ids = new Set<string>();

  function clear(): void {
    waiting = 0;
    ids.clear();
  }

  function flush(): void {
    let done = 0;
    for (const { rows, insert } of rest) {
      for (; waiting - done >= rows; done += rows) {
        insert.run(values.slice(done * COLUMNS, (done + rows) * COLUMNS));
      }
    }
    clear();
  }

  return {
    add({ index, position, accessId, version, createdAt }, { columns, recordedAt, tag }) {
      const id = columns.ids[index] ?? null;
      const start = waiting * COLUMNS;
      values[start] = position;
      values[start + 1] = accessId;
      values[start + 2] = version;
      values[start + 3] = createdAt;
      values[start + 4] = recordedAt;
      values[start + 5] = id;
      values[start + 6] = columns.payloads[index];
      values[start + 7] = tag;
      waiting += 1;
      if (id !== null) {
        ids.add(eventName(accessId, id));
      }
      if (waiting === MAX_ROWS) {
        insertMany.run(values);
        clear();
      }
    },
    holds: (accessId, id) => ids.size > 0 && ids.has(eventName(accessId, id)),
    flush,
    clear,
  };
}
