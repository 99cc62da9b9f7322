/** The PostgreSQL figures: one node and two, beside bare PostgreSQL with the same durability. */
import { createDatabase, startPostgresServer } from '../support/postgres.ts';
import { atLeast, atMost, Board, type Figure, loadOf, type Plan, sockets } from './figures.ts';
import type { PostgresJob, PostgresRate } from './postgres.ts';
import { ask, type Running, startServer } from './server.ts';
import type { SocketsResult } from './sockets.ts';
import { openWire } from './wire.ts';
import { batchText, pushRequest } from './workload.ts';

const ACCESS_IDS = 1_000;
const CATCH_UP_EVENTS = 100_000;

const run = async (job: PostgresJob): Promise<number> => (await ask<PostgresRate>('postgres', job)).perSecond;

export async function postgres(plan: Plan): Promise<Figure> {
  const server = await startPostgresServer();
  const board = new Board();
  const seconds = plan.isQuick ? 0.7 : 2;
  let database = await createDatabase(server.url);
  let a: Running | undefined;
  let b: Running | undefined;
  let across: SocketsResult | undefined;
  const push = async (connections: number, batch: number): Promise<number> =>
    (await loadOf(plan, a?.port ?? 0, connections, batch, ACCESS_IDS)).eventsPerSecond;
  const pushBoth = async (connections: number, batch: number): Promise<number> => {
    const both = await Promise.all(
      [a, b].map((node) => loadOf(plan, node?.port ?? 0, connections / 2, batch, ACCESS_IDS)),
    );
    return both.reduce((sum, one) => sum + one.eventsPerSecond, 0);
  };
  const bare = (connections: number, batch: number): Promise<number> =>
    run({ kind: 'bare', url: database.url, connections, batch, seconds });

  await board.interleave(
    plan.runs,
    [
      ['push 16 × 1, one node', 'events/s', () => push(16, 1)],
      ['bare: 16 connections, a transaction an event', 'events/s', () => bare(16, 1)],
      ['push 64 × 1, one node', 'events/s', () => push(64, 1)],
      ['push 64 × 1, two nodes', 'events/s', () => pushBoth(64, 1)],
      ['push 16 × 100, one node', 'events/s', () => push(16, 100)],
      ['push 16 × 100, two nodes', 'events/s', () => pushBoth(16, 100)],
      ['bare unnest, 100 a transaction', 'events/s', () => bare(1, 100)],
      ['push 4 × 1000, one node', 'events/s', () => push(4, 1_000)],
      ['push 4 × 1000, two nodes', 'events/s', () => pushBoth(4, 1_000)],
      ['bare unnest, 1000 a transaction', 'events/s', () => bare(1, 1_000)],
      [
        'our writer, groups of 16, with the hint',
        'events/s',
        () => run({ kind: 'hint', url: database.url, notify: true, seconds }),
      ],
      [
        'our writer, groups of 16, without the hint',
        'events/s',
        () => run({ kind: 'hint', url: database.url, notify: false, seconds }),
      ],
      [
        'push on one node, receipt on the other, p50',
        'ms',
        async () => {
          across = await sockets({
            port: b?.port ?? 0,
            pushPort: a?.port ?? 0,
            accessId: 'across',
            isBare: false,
            kind: 'turns',
            sockets: 1,
            ahead: 0,
            batch: 1,
            seconds,
          });
          return across.p50Ms;
        },
      ],
      ['push on one node, receipt on the other, p99', 'ms', () => Promise.resolve(across?.p99Ms ?? 0)],
      [
        '100,000 events over one socket',
        'events/s',
        async () => {
          await fillFeed(a?.port ?? 0);
          const job = { port: b?.port ?? 0, accessId: 'catch-up', isBare: false } as const;
          return (await sockets({ ...job, kind: 'catch-up', events: CATCH_UP_EVENTS })).perSecond;
        },
      ],
      [
        '100,000 events, paged SELECT',
        'events/s',
        () => run({ kind: 'select', url: database.url, accessId: 'catch-up' }),
      ],
    ],
    {
      before: async () => {
        a = await startServer(database.url);
        b = await startServer(database.url);
      },
      after: async () => {
        await a?.stop();
        await b?.stop();
        await database.drop();
        database = await createDatabase(server.url);
      },
    },
  );
  await server.remove();
  return {
    title: 'PostgreSQL',
    note: 'PostgreSQL 17 with fsync runs on the same two cores as the nodes and the load generator. Bare tables have the same columns and indexes. Two nodes share the connections.',
    series: board.series,
    claims: [
      {
        what: 'push 16 × 1 : a transaction an event',
        values: board.ratio('push 16 × 1, one node', 'bare: 16 connections, a transaction an event'),
        ...atLeast(10),
      },
      {
        what: 'push 16 × 100 : bare unnest, 100 a transaction',
        values: board.ratio('push 16 × 100, one node', 'bare unnest, 100 a transaction'),
        ...atLeast(0.8),
      },
      {
        what: 'push 4 × 1000 : bare unnest, 1000 a transaction',
        values: board.ratio('push 4 × 1000, one node', 'bare unnest, 1000 a transaction'),
        ...atLeast(0.8),
      },
      {
        what: 'across two nodes, p50',
        values: board.of('push on one node, receipt on the other, p50'),
        ...atMost(4, 'ms'),
      },
      {
        what: 'catch-up : paged SELECT',
        values: board.ratio('100,000 events over one socket', '100,000 events, paged SELECT'),
        ...atLeast(0.75),
      },
    ],
  };
}

async function fillFeed(port: number): Promise<void> {
  const wire = await openWire(port);
  const text = batchText(0, 1_000, 1).replaceAll(/"access_id":"[^"]*"/g, '"access_id":"catch-up"');
  const request = pushRequest(text);
  for (let sent = 0; sent < CATCH_UP_EVENTS; sent += 1_000) {
    await new Promise<void>((resolve) => {
      wire.send(request, resolve);
    });
  }
  wire.close();
}
