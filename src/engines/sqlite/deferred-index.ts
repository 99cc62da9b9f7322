/**
 * The deferred index of the SQLite engine: which positions belong to an access_id. The index first counts new events in
 * memory. After every `FLUSH_EVENTS` it writes them to `event_index` in the order of its key, in slices, so that an append
 * touches no random page. `log.indexed` says how far the index on disk reaches. The memory of the running process finds
 * the events above it, and is rebuilt from `events` at start.
 */
import type { Database, Statement } from 'better-sqlite3';

/** Positions of one segment: `segment * SEGMENT_EVENTS + offset`. The data on disk fixes this number. */
export const SEGMENT_EVENTS = 65_536;

/** Events of one access_id in one row of the index: a row of at most 770 bytes stays inside its page. */
export const CHUNK_EVENTS = 128;

/** So many unindexed events start a flush. */
export const FLUSH_EVENTS = 65_536;

/** Rows written per slice: some 3 ms. */
const SLICE_ROWS = 1_000;

export interface IndexedEvent {
  readonly position: number;
  readonly accessId: string;
  readonly version: number;
  readonly createdAt: number;
}

interface PendingFeed {
  version: number;
  readonly positions: number[];
  readonly createdAts: number[];
}

interface IndexRow {
  readonly segment: number;
  readonly accessId: string;
  readonly lastOffset: number;
  readonly maxCreatedAt: number;
  readonly offsets: string;
}

interface Flush {
  readonly feeds: ReadonlyMap<string, PendingFeed>;
  readonly through: number;
  readonly rows: readonly IndexRow[];
  readonly heads: readonly [accessId: string, version: number, position: number][];
  rowsDone: number;
  headsDone: number;
}

export interface DeferredIndex {
  /** Continues on another connection to the same file. */
  attach(db: Database): void;
  /** Version of the last event of `accessId`, 0 if it never had one. */
  headVersion(accessId: string): number;
  /** Counts a committed event, the next in order. */
  add(event: IndexedEvent): void;
  /**
   * Begins a flush of the events counted so far if there are enough of them, or if `isForced` (default false). Returns
   * the position of the last of them, or `undefined` if no flush begins.
   */
  startFlush(options?: { readonly isForced: boolean }): number | undefined;
  readonly isFlushing: boolean;
  /** Writes one slice inside the caller's transaction. Unless `committed` follows, the next call writes the same slice. */
  writeSlice(): void;
  /** Reports that the slice is on disk. Returns the new end of the index when the flush is complete. */
  committed(): number | undefined;
}

/** Last versions of feeds kept in memory at most, beside those of feeds with unindexed events. */
const MAX_CACHED_HEADS = 100_000;

interface IndexStatements {
  readonly selectHead: Statement<[string], number>;
  readonly insertRow: Statement;
  readonly upsertHead: Statement;
  readonly setIndexed: Statement;
}

/**
 * Opens the index on the writer's connection and deletes the rows of a flush that did not end. It then indexes events
 * until fewer than `FLUSH_EVENTS` are left, so that the index makes progress at each start, however often the process
 * crashes. `onRecovered` receives the events that are left, in order.
 */
export function openDeferredIndex(
  db: Database,
  onRecovered: (event: IndexedEvent) => void = () => undefined,
): DeferredIndex {
  let pending = new Map<string, PendingFeed>();
  let pendingEvents = 0;
  let lastPosition = 0;
  let flush: Flush | undefined;
  let sliceEnd: { rows: number; heads: number } | undefined;
  const heads = new Map<string, number>();

  let statements = prepareStatements(db);

  function add({ position, accessId, version, createdAt }: IndexedEvent): void {
    const feed = pending.get(accessId);
    if (feed === undefined) {
      pending.set(accessId, { version, positions: [position], createdAts: [createdAt] });
    } else {
      feed.version = version;
      feed.positions.push(position);
      feed.createdAts.push(createdAt);
    }
    pendingEvents += 1;
    lastPosition = position;
  }

  const index: DeferredIndex = {
    attach(connection) {
      statements = prepareStatements(connection);
    },
    headVersion(accessId) {
      const known =
        pending.get(accessId)?.version ?? flush?.feeds.get(accessId)?.version ?? heads.get(accessId);
      if (known !== undefined) {
        return known;
      }
      const version = statements.selectHead.get(accessId) ?? 0;
      if (heads.size >= MAX_CACHED_HEADS) {
        heads.clear();
      }
      heads.set(accessId, version);
      return version;
    },
    add,
    startFlush({ isForced } = { isForced: false }) {
      if (flush !== undefined || pendingEvents === 0 || (pendingEvents < FLUSH_EVENTS && !isForced)) {
        return undefined;
      }
      const accessIds = [...pending.keys()].sort();
      flush = {
        feeds: pending,
        through: lastPosition,
        rows: indexRows(pending, accessIds),
        heads: accessIds.map((accessId) => {
          const feed = pending.get(accessId);
          return [accessId, feed?.version ?? 0, feed?.positions.at(-1) ?? 0];
        }),
        rowsDone: 0,
        headsDone: 0,
      };
      pending = new Map();
      pendingEvents = 0;
      return flush.through;
    },
    get isFlushing() {
      return flush !== undefined;
    },
    writeSlice() {
      if (flush === undefined) {
        return;
      }
      const rows = Math.min(flush.rowsDone + SLICE_ROWS, flush.rows.length);
      for (const row of flush.rows.slice(flush.rowsDone, rows)) {
        statements.insertRow.run(row.segment, row.accessId, row.lastOffset, row.maxCreatedAt, row.offsets);
      }
      const room = SLICE_ROWS - (rows - flush.rowsDone);
      const headsEnd = Math.min(flush.headsDone + room, flush.heads.length);
      for (const head of flush.heads.slice(flush.headsDone, headsEnd)) {
        statements.upsertHead.run(...head);
      }
      if (rows === flush.rows.length && headsEnd === flush.heads.length) {
        statements.setIndexed.run(flush.through);
      }
      sliceEnd = { rows, heads: headsEnd };
    },
    committed() {
      if (flush === undefined || sliceEnd === undefined) {
        return undefined;
      }
      flush.rowsDone = sliceEnd.rows;
      flush.headsDone = sliceEnd.heads;
      sliceEnd = undefined;
      if (flush.rowsDone < flush.rows.length || flush.headsDone < flush.heads.length) {
        return undefined;
      }
      const { feeds, through } = flush;
      flush = undefined;
      for (const [accessId, feed] of feeds) {
        if (heads.has(accessId)) {
          heads.set(accessId, feed.version);
        }
      }
      return through;
    },
  };
  recover(db, index, onRecovered);
  return index;
}

function prepareStatements(db: Database): IndexStatements {
  return {
    selectHead: db.prepare<[string], number>('select version from feeds where access_id = ?').pluck(),
    // A slice is written again if the outcome of its commit was not known.
    insertRow: db.prepare('insert or replace into event_index values (?, ?, ?, ?, ?)'),
    upsertHead: db.prepare(
      `insert into feeds (access_id, version, position) values (?, ?, ?)
       on conflict (access_id) do update set version = excluded.version, position = excluded.position`,
    ),
    setIndexed: db.prepare('update log set indexed = ?'),
  };
}

/** Deletes the rows of a flush that did not end, and counts the events above the index again. */
function recover(db: Database, index: DeferredIndex, onRecovered: (event: IndexedEvent) => void): void {
  const indexed = db.prepare<[], number>('select indexed from log').pluck().get() ?? 0;
  const segment = Math.floor((indexed + 1) / SEGMENT_EVENTS);
  db.prepare(
    'delete from event_index where segment > ? or (segment = ? and segment * ? + last_offset > ?)',
  ).run(segment, segment, SEGMENT_EVENTS, indexed);
  const selectNext = db
    .prepare<[number, number], [number, string, number, number]>(
      `select position, access_id, version, created_at from events where position > ?
       order by position limit ?`,
    )
    .raw();
  const flush = db.transaction(() => {
    index.startFlush();
    while (index.isFlushing) {
      index.writeSlice();
      index.committed();
    }
  });
  for (let after = indexed; ;) {
    const rows = selectNext.all(after, FLUSH_EVENTS);
    const isFull = rows.length === FLUSH_EVENTS;
    for (const [position, accessId, version, createdAt] of rows) {
      const event = { position, accessId, version, createdAt };
      index.add(event);
      if (!isFull) {
        onRecovered(event);
      }
      after = position;
    }
    if (!isFull) {
      return;
    }
    flush.immediate();
  }
}

/** The rows of the index, in the order of its key. `accessIds` is sorted as SQLite sorts text: by code point. */
function indexRows(feeds: ReadonlyMap<string, PendingFeed>, accessIds: readonly string[]): IndexRow[] {
  const rows: IndexRow[] = [];
  for (const accessId of accessIds) {
    const feed = feeds.get(accessId);
    if (feed === undefined) {
      continue;
    }
    let from = 0;
    while (from < feed.positions.length) {
      const segment = Math.floor((feed.positions[from] ?? 0) / SEGMENT_EVENTS);
      const offsets: number[] = [];
      let maxCreatedAt = Number.MIN_SAFE_INTEGER;
      while (offsets.length < CHUNK_EVENTS && from < feed.positions.length) {
        const offset = (feed.positions[from] ?? 0) - segment * SEGMENT_EVENTS;
        if (offset >= SEGMENT_EVENTS) {
          break;
        }
        offsets.push(offset);
        maxCreatedAt = Math.max(maxCreatedAt, feed.createdAts[from] ?? 0);
        from += 1;
      }
      rows.push({
        segment,
        accessId,
        lastOffset: offsets.at(-1) ?? 0,
        maxCreatedAt,
        offsets: JSON.stringify(offsets),
      });
    }
  }
  return rows.sort((a, b) => a.segment - b.segment);
}

/** Chunks that one statement reads at most. */
const CHUNKS_PER_READ = 8;

export interface IndexLookup {
  readonly segment: number;
  readonly accessId: string;
  /** The look-up begins after this offset. */
  readonly offset: number;
  readonly limit: number;
}

/**
 * Reads positions from the index on disk, on any connection: those of an access_id in a segment, ascending. Returns up
 * to one chunk more than `limit`.
 */
export function openIndexReader(db: Database): (lookup: IndexLookup) => number[] {
  const selectChunks = db
    .prepare<[number, string, number, number], string>(
      `select offsets from event_index where segment = ? and access_id = ? and last_offset > ?
       order by last_offset limit ?`,
    )
    .pluck();

  return ({ segment, accessId, offset, limit }) => {
    const positions: number[] = [];
    // A chunk holds 1 to 128 events: read more chunks until there are enough.
    let last = offset;
    while (positions.length < limit) {
      const chunks = selectChunks.all(segment, accessId, last, CHUNKS_PER_READ);
      for (const chunk of chunks) {
        for (const found of JSON.parse(chunk) as number[]) {
          last = found;
          if (found > offset) {
            positions.push(segment * SEGMENT_EVENTS + found);
          }
        }
      }
      if (chunks.length < CHUNKS_PER_READ) {
        break;
      }
    }
    return positions;
  };
}

/** Finds, on any connection, the last position of an access_id in a segment whose offset is at most `offset`. */
export function openLastBefore(db: Database): (lookup: Omit<IndexLookup, 'limit'>) => number | undefined {
  const selectFrom = db
    .prepare<[number, string, number], string>(
      `select offsets from event_index where segment = ? and access_id = ? and last_offset >= ?
       order by last_offset limit 1`,
    )
    .pluck();
  const selectBefore = db
    .prepare<[number, string, number], number>(
      `select last_offset from event_index where segment = ? and access_id = ? and last_offset < ?
       order by last_offset desc limit 1`,
    )
    .pluck();
  return ({ segment, accessId, offset }) => {
    const chunk = selectFrom.get(segment, accessId, offset);
    const found =
      (chunk === undefined
        ? undefined
        : (JSON.parse(chunk) as number[]).findLast((candidate) => candidate <= offset)) ??
      selectBefore.get(segment, accessId, offset);
    return found === undefined ? undefined : segment * SEGMENT_EVENTS + found;
  };
}
