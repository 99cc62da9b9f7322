// A worker that keeps a table of its own from a feed and counts each event exactly once, also after a crash: it writes
// the cursor in the transaction that uses the event.
//
//   npm install ./lastseen-0.1.0.tgz better-sqlite3   # the first one is made by `npm pack`
//   LASTSEEN_URL=http://127.0.0.1:8080 LASTSEEN_TOKEN=… node projector.mjs client1 totals.db
import Database from 'better-sqlite3';
import { cursorFrom, subscribe } from 'lastseen/client';

const [accessId = 'client1', file = 'totals.db'] = process.argv.slice(2);
const db = new Database(file);
db.pragma('journal_mode = WAL');
db.exec(`
  create table if not exists totals (kind text primary key, events integer not null, last_version integer not null);
  create table if not exists places (access_id text primary key, cursor text not null);
`);
const count = db.prepare(`
  insert into totals values (?, 1, ?)
  on conflict (kind) do update set events = events + 1, last_version = excluded.last_version`);
const keepPlace = db.prepare(
  'insert into places values (?, ?) on conflict (access_id) do update set cursor = excluded.cursor',
);
const place = db.prepare('select cursor from places where access_id = ?').pluck();

const project = db.transaction((event) => {
  count.run(String(event.payload?.kind ?? 'other'), event.version);
  keepPlace.run(event.accessId, event.cursor);
});

const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
process.once('SIGINT', () => stop.abort());

for await (const event of subscribe({
  url: process.env.LASTSEEN_URL ?? 'http://127.0.0.1:8080',
  token: process.env.LASTSEEN_TOKEN,
  accessId,
  after: 'start',
  store: cursorFrom((id) => place.get(id)),
  signal: stop.signal,
}))
  project(event);

db.close();
