/**
 * The bare ground beside which each figure stands: node:http alone, `ws` alone, better-sqlite3 alone, the disk
 * alone. Each runs as a process of its own and does nothing of what a service has to do besides.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { WebSocketServer } from 'ws';
import { removeTemporary, temporaryDirectory } from './server.ts';
import { percentile } from './stats.ts';
import { accessIdAt, eventText, payloadFor } from './workload.ts';

export type BaselineJob =
  /** Answers every POST with nothing. Says `{port}` and stays. */
  | { readonly kind: 'http' }
  /** A POST sends one frame to every socket. Says `{port}` and stays. */
  | { readonly kind: 'ws' }
  /** Inserts, `batch` rows a transaction, with an inline index. Says `{perSecond}`. */
  | { readonly kind: 'insert'; readonly batch: number; readonly accessIds: number; readonly seconds: number }
  /** Appends 4 KB and flushes. Says `{perSecond, p50Ms}`. */
  | { readonly kind: 'fdatasync'; readonly seconds: number }
  /** Copies the events of a server's file into a bare table with an inline index. Says `{}`. */
  | { readonly kind: 'copy'; readonly from: string; readonly to: string }
  /** Pages through one access_id of such a copy. Says `{perSecond}`. */
  | { readonly kind: 'select'; readonly path: string; readonly accessId: string };

export interface Rate {
  readonly perSecond: number;
  readonly p50Ms: number;
}

const PAGE_EVENTS = 1_000;
const SYNC_BYTES = 4_096;

const TABLE = `create table events (position integer primary key, access_id text not null, version integer not null,
  created_at integer not null, recorded_at integer not null, event_id text, payload text not null)`;
const INDEX = 'create index events_access_id on events (access_id, position)';

function open(path: string): Database.Database {
  const db = new Database(path);
  db.pragma('journal_mode = WAL');
  // After WAL: better-sqlite3 is compiled so that WAL means NORMAL.
  db.pragma('synchronous = FULL');
  return db;
}

function serve(server: ReturnType<typeof createServer>): void {
  server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
}

function serveHttp(): void {
  serve(
    createServer((request, response) => {
      request.resume();
      request.on('end', () => response.end());
    }),
  );
}

function serveWs(): void {
  // What the server would send for the same event.
  const event = `{"cursor":"abcdefgh.1zz","version":1,"recorded_at":1760000000000,${eventText('fan-out').slice(1)}`;
  const frame = Buffer.from(`{"type":"events","access_id":"fan-out","events":[${event}]}`);
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      for (const socket of sockets.clients) {
        socket.send(frame, { binary: false });
      }
      response.end();
    });
  });
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  serve(server);
}

function insert(batch: number, accessIds: number, seconds: number): Rate {
  const directory = temporaryDirectory();
  const db = open(join(directory, 'bare.db'));
  db.exec(`${TABLE};${INDEX}`);
  const statement = db.prepare('insert into events values (?, ?, ?, ?, ?, null, ?)');
  const rows = Array.from({ length: accessIds }, (_, at) => {
    const accessId = accessIdAt(at, accessIds);
    return { accessId, payload: payloadFor(accessId) };
  });
  let position = 0;
  const insertBatch = db.transaction(() => {
    for (let n = 0; n < batch; n += 1) {
      const row = rows[position % accessIds];
      position += 1;
      statement.run(position, row?.accessId, Math.ceil(position / accessIds), 10, 10, row?.payload);
    }
  });
  for (let n = 0; n < 20; n += 1) {
    insertBatch();
  }
  const before = position;
  const tookMs: number[] = [];
  const start = performance.now();
  while (performance.now() - start < seconds * 1_000) {
    const from = performance.now();
    insertBatch();
    tookMs.push(performance.now() - from);
  }
  const rate = (position - before) / ((performance.now() - start) / 1_000);
  db.close();
  removeTemporary(directory);
  return { perSecond: rate, p50Ms: percentile(tookMs, 0.5) };
}

function fdatasync(seconds: number): Rate {
  const directory = temporaryDirectory();
  const file = openSync(join(directory, 'sync'), 'w');
  const bytes = Buffer.alloc(SYNC_BYTES, 1);
  const tookMs: number[] = [];
  const start = performance.now();
  while (performance.now() - start < seconds * 1_000) {
    writeSync(file, bytes);
    const from = performance.now();
    fdatasyncSync(file);
    tookMs.push(performance.now() - from);
  }
  const perSecond = tookMs.length / ((performance.now() - start) / 1_000);
  closeSync(file);
  removeTemporary(directory);
  return { perSecond, p50Ms: percentile(tookMs, 0.5) };
}

function copy(from: string, to: string): void {
  const db = open(to);
  db.pragma('synchronous = OFF');
  db.prepare('attach ? as source').run(from);
  db.exec(`${TABLE}; insert into events select * from source.events; ${INDEX}`);
  db.close();
}

function select(path: string, accessId: string): Rate {
  const db = new Database(path, { readonly: true });
  db.pragma('cache_size = -32768');
  const page = db
    .prepare<[string, number, number], [number, ...unknown[]]>(
      `select position, access_id, version, created_at, recorded_at, event_id, payload from events
       where access_id = ? and position > ? order by position limit ?`,
    )
    .raw();
  let position = 0;
  let count = 0;
  const start = performance.now();
  for (;;) {
    const rows = page.all(accessId, position, PAGE_EVENTS);
    const last = rows.at(-1);
    if (last === undefined) {
      break;
    }
    position = last[0];
    count += rows.length;
  }
  const seconds = (performance.now() - start) / 1_000;
  db.close();
  return { perSecond: count / seconds, p50Ms: 0 };
}

const job = JSON.parse(process.argv[2] ?? '') as BaselineJob;
switch (job.kind) {
  case 'http':
    serveHttp();
    break;
  case 'ws':
    serveWs();
    break;
  case 'insert':
    process.send?.(insert(job.batch, job.accessIds, job.seconds));
    break;
  case 'fdatasync':
    process.send?.(fdatasync(job.seconds));
    break;
  case 'copy':
    copy(job.from, job.to);
    process.send?.({});
    break;
  case 'select':
    process.send?.(select(job.path, job.accessId));
    break;
}
