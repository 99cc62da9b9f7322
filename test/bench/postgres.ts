/** What PostgreSQL does bare, and what our writer does without HTTP: a process of its own. */
import pg from 'pg';
import { createPostgresAppender } from '../../src/engines/postgres/append.ts';
import type { NewEvent } from '../../src/log/event.ts';
import { type Lineage, originOf, type Place } from '../../src/log/place.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { accessIdAt, payloadFor } from './workload.ts';

export type PostgresJob =
  /** `connections` insert `batch` events a transaction, in a table with the same indexes. */
  | {
      readonly kind: 'bare';
      readonly url: string;
      readonly connections: number;
      readonly batch: number;
      readonly seconds: number;
    }
  /** Our writer, 16 single events a group, with or without the hint. */
  | { readonly kind: 'hint'; readonly url: string; readonly notify: boolean; readonly seconds: number }
  /** Pages of one access_id, 1,000 rows each. */
  | { readonly kind: 'select'; readonly url: string; readonly accessId: string };

export interface PostgresRate {
  readonly perSecond: number;
}

const ACCESS_IDS = 1_000;
const payload = payloadFor(accessIdAt(0, ACCESS_IDS));

const TABLE = `drop table if exists bare;
  create table bare (position bigserial primary key, access_id text collate "C" not null, version bigint not null,
    created_at bigint not null, recorded_at bigint not null, event_id text collate "C", payload json not null);
  create index on bare (access_id, position) include (created_at);
  create unique index on bare (access_id, event_id) where event_id is not null`;

const INSERT = `insert into bare (access_id, version, created_at, recorded_at, event_id, payload)
  select a, 1, 10, 10, null, p from unnest($1::text[], $2::json[]) as t(a, p)`;

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

async function bare(job: PostgresJob & { kind: 'bare' }): Promise<PostgresRate> {
  const first = await connected(job.url);
  await first.query(TABLE);
  const clients = [
    first,
    ...(await Promise.all(Array.from({ length: job.connections - 1 }, () => connected(job.url)))),
  ];
  let place = 0;
  let count = 0;
  const start = performance.now();
  const isOver = (): boolean => performance.now() - start > job.seconds * 1_000;
  await Promise.all(
    clients.map(async (client) => {
      while (!isOver()) {
        const from = place;
        place += job.batch;
        const names = Array.from({ length: job.batch }, (_, at) => accessIdAt(from + at, ACCESS_IDS));
        await client.query(INSERT, [names, names.map(() => payload)]);
        count += job.batch;
      }
    }),
  );
  const perSecond = count / ((performance.now() - start) / 1_000);
  await first.query('drop table bare');
  await Promise.all(clients.map((client) => client.end()));
  return { perSecond };
}

async function hint(job: PostgresJob & { kind: 'hint' }): Promise<PostgresRate> {
  const client = await connected(job.url);
  const { rows } = await client.query<{ epoch: string }>('select epoch from log');
  await client.end();
  const lineage: Lineage = { epoch: rows[0]?.epoch ?? '' };
  let end: Place = originOf(lineage);
  const writer = createPostgresAppender({
    url: job.url,
    runtime: systemRuntime,
    notify: job.notify,
    lineage,
    nodeId: 'bench',
    seen: () => end,
    onSeen: (place) => {
      end = place;
    },
    onOtherHistory: () => new Error('the log holds another history'),
  });
  let place = 0;
  const start = performance.now();
  while (performance.now() - start < job.seconds * 1_000) {
    const requests = Array.from({ length: 16 }, (_, at) => {
      const event: NewEvent = {
        accessId: accessIdAt(place + at, ACCESS_IDS),
        createdAt: 10,
        id: null,
        payload,
      };
      return { events: [event], key: null };
    });
    await writer.append(requests);
    place += 16;
  }
  const perSecond = place / ((performance.now() - start) / 1_000);
  writer.close();
  return { perSecond };
}

async function select(job: PostgresJob & { kind: 'select' }): Promise<PostgresRate> {
  const client = await connected(job.url);
  let after = 0;
  let count = 0;
  const start = performance.now();
  for (;;) {
    const { rows } = await client.query<{ position: string }>(
      'select * from events where access_id = $1 and position > $2 order by position limit 1000',
      [job.accessId, after],
    );
    const last = rows.at(-1);
    if (last === undefined) {
      break;
    }
    count += rows.length;
    after = Number(last.position);
  }
  const perSecond = count / ((performance.now() - start) / 1_000);
  await client.end();
  return { perSecond };
}

const job = JSON.parse(process.argv[2] ?? '') as PostgresJob;
process.send?.(await (job.kind === 'bare' ? bare(job) : job.kind === 'hint' ? hint(job) : select(job)));
