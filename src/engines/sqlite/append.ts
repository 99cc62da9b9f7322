/**
 * Appending a group of requests in one transaction and one flush, on the writer's connection. Positions and versions
 * are numbered here (G2), ids and keys are looked up (G5). A request that is refused leaves nothing behind and does
 * not touch its neighbours (G4, G8).
 */
import type { Database } from 'better-sqlite3';
import type { RowChange } from '../../log/store.ts';
import type { DeferredIndex } from './deferred-index.ts';
import type { AppendColumns, ReceiptColumns, Refusal } from './thread-protocol.ts';

export interface SqliteAppender {
  /** Highest position committed. */
  readonly head: number;
  /** Appends what can be appended; the others are refused, each with its reason. */
  append(columns: AppendColumns, recordedAt: number): ReceiptColumns;
}

/** What a transaction has numbered so far; it becomes the appender's memory only after the commit. */
interface Draft {
  head: number;
  readonly versions: Map<string, number>;
  readonly events: [position: number, accessId: string, version: number, createdAt: number][];
}

/** A request's part of the columns. */
interface Part {
  readonly request: number;
  readonly from: number;
  readonly to: number;
}

interface Duplicates {
  /** Events that the log has already. */
  readonly stored: Map<number, { position: number; version: number }>;
  /** Events that stand twice in the batch: the second to the first. */
  readonly twins: Map<number, number>;
}

const NO_DUPLICATES: Duplicates = { stored: new Map(), twins: new Map() };

/** `onIndexed` is told when a commit has also completed a flush of the index. */
export function createSqliteAppender(
  db: Database,
  index: DeferredIndex,
  onIndexed: (through: number) => void,
): SqliteAppender {
  const begin = db.prepare('begin immediate');
  const commit = db.prepare('commit');
  const rollback = db.prepare('rollback');
  const insertEvent = db.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?)');
  const selectById = db
    .prepare<[string, string], [number, number, number, string]>(
      'select position, version, created_at, payload from events where access_id = ? and event_id = ?',
    )
    .raw();
  const selectVersion = db.prepare<[number], number>('select version from events where position = ?').pluck();
  const selectBatch = db
    .prepare<[string], [string, number]>('select fingerprint, first_position from batches where key = ?')
    .raw();
  const insertBatch = db.prepare('insert into batches values (?, ?, ?, ?)');

  let head = Math.max(
    db.prepare<[], number | null>('select max(position) from events').pluck().get() ?? 0,
    (db.prepare<[], number>('select floor from log').pluck().get() ?? 1) - 1,
  );

  function appendParts(
    columns: AppendColumns,
    parts: readonly Part[],
    recordedAt: number,
    receipts: ReceiptColumns,
    refusals: Map<number, Refusal>,
  ): void {
    const draft: Draft = { head, versions: new Map(), events: [] };
    begin.run();
    try {
      for (const part of parts) {
        const refusal = appendOne(columns, part, recordedAt, draft, receipts);
        if (refusal !== undefined) {
          refusals.set(part.request, refusal);
        }
      }
      if (index.isFlushing) {
        index.writeSlice();
      }
      commit.run();
    } catch (error) {
      if (db.inTransaction) {
        rollback.run();
      }
      throw error;
    }
    head = draft.head;
    const indexed = index.committed();
    for (const event of draft.events) {
      index.add(...event);
    }
    if (indexed !== undefined) {
      onIndexed(indexed);
    }
  }

  function appendOne(
    columns: AppendColumns,
    part: Part,
    recordedAt: number,
    draft: Draft,
    receipts: ReceiptColumns,
  ): Refusal | undefined {
    const key = columns.keys[part.request] ?? null;
    const known = key === null ? undefined : selectBatch.get(key.value);
    if (known !== undefined) {
      if (known[0] !== key?.fingerprint) {
        return { conflict: { index: -1 } };
      }
      repeat(columns, part, known[1], receipts);
      return undefined;
    }
    const duplicates = findDuplicates(columns, part);
    if ('conflict' in duplicates) {
      return duplicates;
    }
    if (!writeRows(columns.rows.get(part.request))) {
      return { changed: true };
    }
    const first = draft.head + 1;
    for (let at = part.from; at < part.to; at += 1) {
      const stored = duplicates.stored.get(at);
      const twin = duplicates.twins.get(at);
      if (stored !== undefined) {
        receipts.positions[at] = stored.position;
        receipts.versions[at] = stored.version;
        receipts.isDuplicate[at] = 1;
      } else if (twin !== undefined) {
        receipts.positions[at] = receipts.positions[twin] ?? 0;
        receipts.versions[at] = receipts.versions[twin] ?? 0;
        receipts.isDuplicate[at] = 1;
      } else {
        const accessId = columns.accessIds[at] ?? '';
        const version = (draft.versions.get(accessId) ?? index.headVersion(accessId)) + 1;
        const position = (draft.head += 1);
        const createdAt = columns.createdAts[at] ?? recordedAt;
        insertEvent.run(
          position,
          accessId,
          version,
          createdAt,
          recordedAt,
          columns.ids[at],
          columns.payloads[at],
        );
        draft.versions.set(accessId, version);
        draft.events.push([position, accessId, version, createdAt]);
        receipts.positions[at] = position;
        receipts.versions[at] = version;
      }
    }
    if (key !== null) {
      insertBatch.run(key.value, key.fingerprint, first, draft.head);
    }
    return undefined;
  }

  /** Writes the rows of a request, all or none. False when one does not find what it must change. */
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

  /** Reads before anything is inserted, so that a refused request has left nothing. */
  function findDuplicates(columns: AppendColumns, part: Part): Duplicates | { conflict: { index: number } } {
    let found: Duplicates | undefined;
    const seen = new Map<string, number>();
    for (let at = part.from; at < part.to; at += 1) {
      const id = columns.ids[at] ?? null;
      if (id === null) {
        continue;
      }
      found ??= { stored: new Map(), twins: new Map() };
      const accessId = columns.accessIds[at] ?? '';
      const name = JSON.stringify([accessId, id]);
      const twin = seen.get(name);
      if (twin !== undefined) {
        if (!isSame(columns, at, columns.createdAts[twin] ?? null, columns.payloads[twin])) {
          return { conflict: { index: at - part.from } };
        }
        found.twins.set(at, twin);
        continue;
      }
      seen.set(name, at);
      const row = selectById.get(accessId, id);
      if (row === undefined) {
        continue;
      }
      const [position, version, createdAt, payload] = row;
      if (!isSame(columns, at, createdAt, payload)) {
        return { conflict: { index: at - part.from } };
      }
      found.stored.set(at, { position, version });
    }
    return found ?? NO_DUPLICATES;
  }

  /** The receipts of a batch that was appended before under its key: its new events stand in a row from `first`. */
  function repeat(columns: AppendColumns, part: Part, first: number, receipts: ReceiptColumns): void {
    let next = first;
    for (let at = part.from; at < part.to; at += 1) {
      const id = columns.ids[at] ?? null;
      const byId = id === null ? undefined : selectById.get(columns.accessIds[at] ?? '', id);
      const position = byId?.[0] ?? next;
      if (position === next) {
        next += 1;
      }
      receipts.positions[at] = position;
      receipts.versions[at] = selectVersion.get(position) ?? 0;
      receipts.isDuplicate[at] = 1;
    }
  }

  return {
    get head() {
      return head;
    },
    append(columns, recordedAt) {
      const events = columns.accessIds.length;
      const refusals = new Map<number, Refusal>();
      const receipts: ReceiptColumns = {
        positions: new Float64Array(events),
        versions: new Float64Array(events),
        isDuplicate: new Uint8Array(events),
        refusals,
      };
      const parts = partsOf(columns.counts);
      try {
        appendParts(columns, parts, recordedAt, receipts, refusals);
      } catch (error) {
        refusals.clear();
        if (parts.length === 1) {
          refusals.set(0, { failed: messageOf(error) });
        }
        // If the whole group fails on something unforeseen, each request gets a transaction of its own.
        else {
          for (const part of parts) {
            appendAlone(part);
          }
        }
      }
      return receipts;

      function appendAlone(part: Part): void {
        try {
          appendParts(columns, [part], recordedAt, receipts, refusals);
        } catch (error) {
          refusals.set(part.request, { failed: messageOf(error) });
        }
      }
    },
  };
}

function partsOf(counts: readonly number[]): Part[] {
  let from = 0;
  return counts.map((count, request) => {
    const part = { request, from, to: from + count };
    from = part.to;
    return part;
  });
}

function isSame(
  columns: AppendColumns,
  at: number,
  createdAt: number | null,
  payload: string | undefined,
): boolean {
  const sent = columns.createdAts[at] ?? null;
  return columns.payloads[at] === payload && (sent === null || createdAt === null || sent === createdAt);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
