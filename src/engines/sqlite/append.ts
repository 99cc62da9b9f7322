/**
 * Appends groups of requests on the writer's connection, each group in one transaction and one flush. A request that is
 * refused leaves nothing behind and does not touch its neighbours (G4, G8).
 */
import { hostname } from 'node:os';
import type { Database } from 'better-sqlite3';
import { tagOf } from '../../log/place.ts';
import type { RowChange } from '../../log/store.ts';
import type { Random } from '../../runtime.ts';
import {
  type AppendColumns,
  emptyReceipts,
  type Part,
  partsOf,
  type ReceiptColumns,
  type Refusal,
} from '../group.ts';
import { createNumbering, type LogLookups, type NumberedEvent } from '../numbering.ts';
import { createDraws, drawTerm } from '../terms.ts';
import type { DeferredIndex } from './deferred-index.ts';
import { createEventInserter, type EventInserter } from './event-inserter.ts';
import { CommitFailed, messageOf, type Transactions } from './transaction.ts';

export interface SqliteAppender {
  /** Highest position committed. */
  readonly head: number;
  /** Appends the requests that can be appended, and refuses the others, each with its reason. */
  append(columns: AppendColumns, recordedAt: number): ReceiptColumns;
}

export interface SqliteAppenderOptions {
  readonly db: Database;
  readonly transactions: Transactions;
  readonly index: DeferredIndex;
  readonly random: Random;
  /** Called when a commit has also completed a flush of the index. */
  readonly onIndexed: (through: number) => void;
}

export function createSqliteAppender({
  db,
  transactions,
  index,
  random,
  onIndexed,
}: SqliteAppenderOptions): SqliteAppender {
  const events = createEventInserter(db);
  const insertBatch = db.prepare('insert into batches values (?, ?, ?, ?, ?)');
  const insertTerm = db.prepare('insert into terms values (?, ?, ?, ?)');
  /** This process appends in a term of its own, which its first commit opens. */
  const draw = createDraws(random);
  const term = newTerm(db, draw);
  let isTermOpen = false;
  /** What the transaction has inserted: the index counts it after the commit. */
  let inserted: NumberedEvent[] = [];
  const numbering = createNumbering({
    lookups: prepareLookups(db, { index, events }),
    insertEvent(event, group) {
      events.add(event, group);
      inserted.push(event);
    },
    insertBatch(key, { fingerprint, firstPosition, lastPosition, tag }) {
      insertBatch.run(key, fingerprint, firstPosition, lastPosition, tag);
    },
  });

  let head = readHead(db);

  function appendParts(
    columns: AppendColumns,
    parts: readonly Part[],
    recordedAt: number,
    receipts: ReceiptColumns,
  ): void {
    inserted = [];
    events.clear();
    numbering.begin({ columns, head, recordedAt, tag: tagOf(term, draw()), receipts });
    transactions.run(() => {
      for (const part of parts) {
        const refusal = appendPart(part, columns.rows.get(part.request));
        if (refusal !== undefined) {
          receipts.refusals.set(part.request, refusal);
        }
      }
      events.flush();
      if (!isTermOpen && inserted.length > 0) {
        insertTerm.run(term, head + 1, recordedAt, hostname());
      }
      if (index.isFlushing) {
        index.writeSlice();
      }
    });
    // Nothing is remembered before the commit.
    isTermOpen ||= inserted.length > 0;
    head = numbering.head;
    const indexed = index.committed();
    for (const event of inserted) {
      index.add(event);
    }
    if (indexed !== undefined) {
      onIndexed(indexed);
    }
  }

  function appendPart(part: Part, rows: readonly RowChange[] | undefined): Refusal | undefined {
    const checked = numbering.check(part);
    if (checked === 'repeated') {
      return undefined;
    }
    if (!('stored' in checked)) {
      return checked;
    }
    if (!writeRows(rows)) {
      return { changed: true };
    }
    numbering.assign(part, checked);
    return undefined;
  }

  /** Writes the rows of a request, all or none. Returns false when a row that it must change is not as expected. */
  function writeRows(rows: readonly RowChange[] | undefined): boolean {
    if (rows === undefined) {
      return true;
    }
    db.exec('savepoint rows');
    for (const { sql, bindings, rows: expected } of rows) {
      const { changes } = db.prepare(sql).run(...bindings);
      if (expected !== undefined && changes !== expected) {
        db.exec('rollback to rows; release rows');
        return false;
      }
    }
    db.exec('release rows');
    return true;
  }

  /** After an unforeseen failure of the group: gives each request a transaction of its own. */
  function appendAlone(columns: AppendColumns, parts: readonly Part[], recordedAt: number): ReceiptColumns {
    // New receipts: those of the group may name events that no request appends now.
    const receipts = emptyReceipts(columns);
    for (const part of parts) {
      if (transactions.isDoubtful) {
        receipts.refusals.set(part.request, { failed: 'the commit before it failed' });
        continue;
      }
      try {
        appendParts(columns, [part], recordedAt, receipts);
      } catch (error) {
        receipts.refusals.set(part.request, refusalOf(error));
      }
    }
    return receipts;
  }

  return {
    get head() {
      return head;
    },
    append(columns, recordedAt) {
      const parts = partsOf(columns);
      const receipts = emptyReceipts(columns);
      try {
        appendParts(columns, parts, recordedAt, receipts);
        return receipts;
      } catch (error) {
        if (parts.length > 1 && !transactions.isDoubtful) {
          return appendAlone(columns, parts, recordedAt);
        }
        return receiptsOf(columns, refusalOf(error));
      }
    },
  };
}

/** Each look-up is a statement inside the transaction, which sees what the transaction has inserted. */
function prepareLookups(
  db: Database,
  { index, events }: { readonly index: DeferredIndex; readonly events: EventInserter },
): LogLookups {
  const selectEvent = db
    .prepare<[string, string], [number, number, number, string, number]>(
      'select position, version, created_at, payload, coalesce(tag, 0) from events where access_id = ? and event_id = ?',
    )
    .raw();
  const selectVersion = db.prepare<[number], number>('select version from events where position = ?').pluck();
  const selectBatch = db
    .prepare<[string], [string, number, number]>(
      'select fingerprint, first_position, tag from batches where key = ?',
    )
    .raw();
  return {
    batch(key) {
      const row = selectBatch.get(key);
      return row === undefined ? undefined : { fingerprint: row[0], firstPosition: row[1], tag: row[2] };
    },
    event(accessId, id) {
      if (events.holds(accessId, id)) {
        events.flush();
      }
      const row = selectEvent.get(accessId, id);
      return row === undefined
        ? undefined
        : { position: row[0], version: row[1], createdAt: row[2], payload: row[3], tag: row[4] };
    },
    versionAt(position) {
      events.flush();
      return selectVersion.get(position) ?? 0;
    },
    headVersion: index.headVersion,
  };
}

/** Draws a term that the log does not have. */
function newTerm(db: Database, draw: () => number): number {
  const find = db.prepare<[number], number>('select 1 from terms where term = ?').pluck();
  let term = drawTerm(draw);
  while (find.get(term) !== undefined) {
    term = drawTerm(draw);
  }
  return term;
}

/** Highest position committed, also when retention has deleted every event. */
export function readHead(db: Database): number {
  return Math.max(
    db.prepare<[], number | null>('select max(position) from events').pluck().get() ?? 0,
    (db.prepare<[], number>('select floor from log').pluck().get() ?? 1) - 1,
  );
}

/** The answer to a group that was not given to SQLite. */
export function refuseAll(columns: AppendColumns, reason: string): ReceiptColumns {
  return receiptsOf(columns, { failed: reason });
}

/** The same refusal for every request. */
function receiptsOf(columns: AppendColumns, refusal: Refusal): ReceiptColumns {
  const receipts = emptyReceipts(columns);
  for (const request of columns.counts.keys()) {
    receipts.refusals.set(request, refusal);
  }
  return receipts;
}

function refusalOf(error: unknown): Refusal {
  return error instanceof CommitFailed ? { unknown: error.message } : { failed: messageOf(error) };
}
