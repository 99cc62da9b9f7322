/**
 * Ways to find an access_id's events in the table, compared on a file of many events: append rate at its end, and
 * the three look-ups. Run as a process of its own, one structure at a time.
 */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { openSqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { removeTemporary, temporaryDirectory } from './server.ts';
import { percentile } from './stats.ts';
import { accessIdAt, payloadFor } from './workload.ts';

const STRUCTURES = {
  'inline (access_id, position)': ['create index by_position on events (access_id, position)'],
  'inline (access_id, position) and (access_id, created_at)': [
    'create index by_position on events (access_id, position)',
    'create index by_time on events (access_id, created_at)',
  ],
  'inline (integer access_id, position)': ['create index by_position on events (access_id, position)'],
  'as built: deferred': [],
} as const;

export type Structure = keyof typeof STRUCTURES;

export interface StructureJob {
  readonly structure: Structure;
  readonly events: number;
  readonly accessIds: number;
  readonly seconds: number;
}

export interface StructureResult {
  readonly appendPerSecond: number;
  /** Median milliseconds. */
  readonly firstPage: number;
  readonly byTime: number;
  readonly byId: number;
}

interface Candidate {
  /** Appends `count` events from place `from` on, in one transaction. */
  append(from: number, count: number): Promise<void>;
  filled(): void;
  page(accessId: string, position: number): Promise<unknown>;
  byTime(accessId: string, createdAt: number): Promise<unknown>;
  byId(accessId: string, id: string): unknown;
  close(): Promise<void>;
}

const FILL_GROUP = 10_000;
const GROUP = 100;
const LOOK_UPS = 300;
const PAGE = { maxEvents: 500, maxBytes: 4 * 1024 * 1024 };
const TABLE = `create table events (position integer primary key, access_id not null, version integer not null,
  created_at integer not null, recorded_at integer not null, event_id text, payload text not null);
  create unique index by_id on events (access_id, event_id) where event_id is not null`;

const payload = payloadFor(accessIdAt(0, 1));
const idAt = (place: number): string | null => (place % 10 === 7 ? `id-${place}` : null);

function bare(path: string, structure: Structure, accessIds: number): Candidate {
  const isInteger = structure.includes('integer');
  const db = new Database(path);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = OFF');
  db.pragma('cache_size = -65536');
  db.exec([TABLE, ...STRUCTURES[structure]].join(';'));
  const insert = db.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?)');
  const selectPage = db
    .prepare('select * from events where access_id = ? and position > ? order by position limit 500')
    .raw();
  const selectTime = db
    .prepare('select min(position) from events where access_id = ? and created_at >= ?')
    .pluck();
  const selectId = db
    .prepare('select position, payload from events where access_id = ? and event_id = ?')
    .raw();
  const keyOf = (accessId: string): string | number => (isInteger ? Number(accessId.slice(5)) : accessId);
  const append = db.transaction((from: number, count: number) => {
    for (let place = from; place < from + count; place += 1) {
      const key = keyOf(accessIdAt(place, accessIds));
      insert.run(place + 1, key, Math.floor(place / accessIds) + 1, place, place, idAt(place), payload);
    }
  });
  return {
    append(from, count) {
      append.immediate(from, count);
      return Promise.resolve();
    },
    filled() {
      db.pragma('synchronous = FULL');
    },
    page: (accessId, position) => Promise.resolve(selectPage.all(keyOf(accessId), position)),
    byTime: (accessId, createdAt) => Promise.resolve(selectTime.get(keyOf(accessId), createdAt)),
    byId: (accessId, id) => selectId.get(keyOf(accessId), id),
    close() {
      db.close();
      return Promise.resolve();
    },
  };
}

async function built(path: string, accessIds: number): Promise<Candidate> {
  const { store } = await openSqliteEngine({ path, runtime: systemRuntime });
  const history = await store.open();
  const db = new Database(path, { readonly: true });
  const selectId = db
    .prepare('select position, payload from events where access_id = ? and event_id = ?')
    .raw();
  return {
    async append(from, count) {
      const events = Array.from({ length: count }, (_, at) => ({
        accessId: accessIdAt(from + at, accessIds),
        createdAt: from + at,
        id: idAt(from + at),
        payload,
      }));
      await history.append([{ events, key: null }]);
    },
    filled: () => undefined,
    page: (accessId, position) => history.readFeed(accessId, position, PAGE),
    byTime: (accessId, createdAt) => history.firstSince(accessId, createdAt),
    byId: (accessId, id) => selectId.get(accessId, id),
    async close() {
      db.close();
      await store.close();
    },
  };
}

async function measure(job: StructureJob): Promise<StructureResult> {
  const directory = temporaryDirectory();
  const path = join(directory, 'events.db');
  const candidate =
    job.structure === 'as built: deferred'
      ? await built(path, job.accessIds)
      : bare(path, job.structure, job.accessIds);
  let place = 0;
  for (; place < job.events; place += FILL_GROUP) {
    await candidate.append(place, FILL_GROUP);
  }
  candidate.filled();
  const before = place;
  const start = performance.now();
  for (; performance.now() - start < job.seconds * 1_000; place += GROUP) {
    await candidate.append(place, GROUP);
  }
  const appendPerSecond = (place - before) / ((performance.now() - start) / 1_000);

  const took: Record<'firstPage' | 'byTime' | 'byId', number[]> = { firstPage: [], byTime: [], byId: [] };
  const clock = async (into: number[], work: () => unknown): Promise<void> => {
    const from = performance.now();
    await work();
    into.push(performance.now() - from);
  };
  for (let n = 0; n < LOOK_UPS; n += 1) {
    // Spread over the whole file, in no order.
    const at = Math.floor((job.events / LOOK_UPS) * ((n * 77) % LOOK_UPS));
    const withId = at - (at % 10) + 7;
    await clock(took.firstPage, () => candidate.page(accessIdAt(at, job.accessIds), at));
    await clock(took.byTime, () => candidate.byTime(accessIdAt(at, job.accessIds), at));
    await clock(took.byId, () => candidate.byId(accessIdAt(withId, job.accessIds), `id-${withId}`));
  }
  await candidate.close();
  removeTemporary(directory);
  return {
    appendPerSecond,
    firstPage: percentile(took.firstPage, 0.5),
    byTime: percentile(took.byTime, 0.5),
    byId: percentile(took.byId, 0.5),
  };
}

process.send?.(await measure(JSON.parse(process.argv[2] ?? '') as StructureJob));
