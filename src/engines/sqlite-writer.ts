/**
 * The writer thread of the SQLite engine: the only connection that writes. It takes one group of requests at a
 * time, appends it in one transaction and one flush (WAL, `synchronous=FULL`: G1), and keeps the deferred index.
 * A request that is refused leaves nothing behind and does not touch its neighbours (G4, G8).
 */
import Database from 'better-sqlite3';
import { parentPort, workerData } from 'node:worker_threads';
import type { NewEvent } from '../log/event.ts';
import type { AppendRequest } from '../log/store.ts';
import { openIndex, SEGMENT_EVENTS } from './sqlite-index.ts';
import type { WriterMessage, WriterOutcome, WriterReply } from './sqlite-wire.ts';

const port = parentPort;
if (port === null) throw new Error('sqlite-writer runs as a worker thread only');

const db = new Database((workerData as { path: string }).path);
db.pragma('journal_mode = WAL');
db.pragma('synchronous = FULL');
// A checkpoint inside a commit would make that push wait: the checkpointer thread does it.
db.pragma('wal_autocheckpoint = 0');
db.pragma('journal_size_limit = 67108864');
db.pragma('cache_size = -65536');
db.pragma('temp_store = memory');
db.pragma('busy_timeout = 5000');

const index = openIndex(db);
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

/** What a transaction has numbered so far; it becomes the writer's memory only after the commit. */
interface Draft {
  head: number;
  readonly versions: Map<string, number>;
  readonly events: [position: number, accessId: string, version: number, createdAt: number][];
}

function appendAll(requests: readonly AppendRequest[], recordedAt: number): WriterOutcome[] {
  const draft: Draft = { head, versions: new Map(), events: [] };
  begin.run();
  try {
    const outcomes = requests.map((request) => appendOne(request, recordedAt, draft));
    if (index.isFlushing) index.writeSlice();
    commit.run();
    head = draft.head;
    const indexed = index.committed();
    for (const event of draft.events) index.add(...event);
    if (indexed !== undefined) send({ type: 'indexed', through: indexed });
    return outcomes;
  } catch (error) {
    if (db.inTransaction) rollback.run();
    throw error;
  }
}

function appendOne(request: AppendRequest, recordedAt: number, draft: Draft): WriterOutcome {
  const known = request.key === null ? undefined : selectBatch.get(request.key.value);
  if (known !== undefined) {
    if (known[0] !== request.key?.fingerprint) return { conflict: { index: -1 } };
    return repeated(request.events, known[1]);
  }
  const duplicates = findDuplicates(request.events);
  if ('conflict' in duplicates) return duplicates;
  const first = draft.head + 1;
  const positions: number[] = [];
  const versions: number[] = [];
  const isDuplicate: boolean[] = [];
  request.events.forEach((event, at) => {
    const stored = duplicates.stored.get(at);
    const twin = duplicates.twins.get(at);
    isDuplicate.push(stored !== undefined || twin !== undefined);
    if (stored !== undefined) {
      positions.push(stored.position);
      versions.push(stored.version);
    } else if (twin !== undefined) {
      positions.push(positions[twin] ?? 0);
      versions.push(versions[twin] ?? 0);
    } else {
      const version = (draft.versions.get(event.accessId) ?? index.headVersion(event.accessId)) + 1;
      const position = (draft.head += 1);
      const createdAt = event.createdAt ?? recordedAt;
      insertEvent.run(position, event.accessId, version, createdAt, recordedAt, event.id, event.payload);
      draft.versions.set(event.accessId, version);
      draft.events.push([position, event.accessId, version, createdAt]);
      positions.push(position);
      versions.push(version);
    }
  });
  if (request.key !== null) insertBatch.run(request.key.value, request.key.fingerprint, first, draft.head);
  return { positions, versions, isDuplicate };
}

interface Duplicates {
  /** Events that the log has already, by their place in the batch. */
  readonly stored: Map<number, { position: number; version: number }>;
  /** Events that stand twice in the batch: the place of the second to that of the first. */
  readonly twins: Map<number, number>;
}

/** Reads before anything is inserted, so that a refused request has left nothing (G4, G5). */
function findDuplicates(events: readonly NewEvent[]): Duplicates | { conflict: { index: number } } {
  const stored: Duplicates['stored'] = new Map();
  const twins: Duplicates['twins'] = new Map();
  const seen = new Map<string, number>();
  for (const [at, event] of events.entries()) {
    if (event.id === null) continue;
    const name = JSON.stringify([event.accessId, event.id]);
    const twin = seen.get(name);
    const twinEvent = twin === undefined ? undefined : events[twin];
    if (twin !== undefined && twinEvent !== undefined) {
      if (!isSame(event, twinEvent.createdAt, twinEvent.payload)) return { conflict: { index: at } };
      twins.set(at, twin);
      continue;
    }
    seen.set(name, at);
    const row = selectById.get(event.accessId, event.id);
    if (row === undefined) continue;
    const [position, version, createdAt, payload] = row;
    if (!isSame(event, createdAt, payload)) return { conflict: { index: at } };
    stored.set(at, { position, version });
  }
  return { stored, twins };
}

function isSame(event: NewEvent, createdAt: number | null, payload: string): boolean {
  return (
    event.payload === payload &&
    (event.createdAt === null || createdAt === null || event.createdAt === createdAt)
  );
}

/** The receipts of a batch that was appended before under its key: its new events stand in a row from `first`. */
function repeated(events: readonly NewEvent[], first: number): WriterOutcome {
  let next = first;
  const positions = events.map((event) => {
    const byId = event.id === null ? undefined : selectById.get(event.accessId, event.id);
    const position = byId?.[0] ?? next;
    if (position === next) next += 1;
    return position;
  });
  return {
    positions,
    versions: positions.map((position) => selectVersion.get(position) ?? 0),
    isDuplicate: positions.map(() => true),
  };
}

/** If the whole group fails on something unforeseen, each request gets a transaction of its own. */
function appendGroup(requests: readonly AppendRequest[], recordedAt: number): WriterOutcome[] {
  try {
    return appendAll(requests, recordedAt);
  } catch (error) {
    if (requests.length === 1) return [{ failed: messageOf(error) }];
    return requests.flatMap((request) => appendGroup([request], recordedAt));
  }
}

/** Deletes in small steps, so that pushes get their turn between them. */
async function prune(position: number): Promise<void> {
  const through = Math.min(position, head);
  flushAll();
  db.prepare('update log set floor = max(floor, ?)').run(through + 1);
  const step = db.prepare(
    'delete from events where position in (select position from events where position <= ? limit 1000)',
  );
  while (step.run(through).changes > 0) await new Promise((resolve) => setImmediate(resolve));
  db.prepare('delete from batches where last_position <= ?').run(through);
  db.prepare('delete from event_index where segment < ?').run(Math.floor((through + 1) / SEGMENT_EVENTS));
}

function flushAll(): void {
  for (;;) {
    if (!index.isFlushing) {
      if (index.startFlush(true) === undefined) return;
      send({ type: 'frozen' });
    }
    flushSlice();
  }
}

function flushSlice(): void {
  begin.run();
  try {
    index.writeSlice();
    commit.run();
  } catch (error) {
    if (db.inTransaction) rollback.run();
    throw error;
  }
  const through = index.committed();
  if (through !== undefined) send({ type: 'indexed', through });
}

let idleFlush: NodeJS.Immediate | undefined;

/** Goes on with a flush while no push is waiting; pushes carry slices with them otherwise. */
function flushWhenIdle(): void {
  if (idleFlush !== undefined || !index.isFlushing) return;
  idleFlush = setImmediate(() => {
    idleFlush = undefined;
    try {
      flushSlice();
    } catch {
      return; // The next push tries again.
    }
    flushWhenIdle();
  });
}

function send(reply: WriterReply): void {
  port?.postMessage(reply);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

port.on('message', (message: WriterMessage) => {
  switch (message.type) {
    case 'append': {
      const recordedAt = Date.now();
      const outcomes = appendGroup(message.requests, recordedAt);
      send({ type: 'appended', recordedAt, outcomes, head });
      if (index.startFlush() !== undefined) send({ type: 'frozen' });
      flushWhenIdle();
      break;
    }
    case 'prune':
      prune(message.position).then(
        () => {
          send({ type: 'pruned' });
        },
        (error: unknown) => {
          send({ type: 'pruned', failed: messageOf(error) });
        },
      );
      break;
    case 'restart-wal':
      // Most pages are in the file already; this moves the rest and lets the WAL begin anew.
      db.pragma('wal_checkpoint(RESTART)');
      break;
    case 'close':
      db.pragma('wal_checkpoint(TRUNCATE)');
      db.close();
      send({ type: 'closed' });
      port.close();
      break;
  }
});

send({ type: 'ready', head });
