/** What a query costs those who push and follow: the same load with a full scan beside it, and without. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { atMost, Board, type Figure, loadOf, type Plan, sockets } from './figures.ts';
import type { FillJob, FillResult } from './fill.ts';
import { ask, removeTemporary, type Running, startServer, temporaryDirectory } from './server.ts';

const EVENTS = 1_000_000;
const QUICK_EVENTS = 100_000;
const ACCESS_IDS = 1_000;

/** Every payload is read and taken apart. */
const SCAN = `select count(*), max(length(payload ->> 'text')), count(distinct access_id) from events`;

const MEGABYTE = 1024 * 1024;

interface Beside {
  readonly scans: number;
  readonly scanMs: number;
  readonly walBytes: number;
}

/** One scan after the other while the work goes on; looks at the write-ahead log meanwhile. */
async function beside<T>(
  port: number,
  path: string,
  isScanning: boolean,
  work: () => Promise<T>,
): Promise<[T, Beside]> {
  let isOver = false;
  let walBytes = 0;
  const tookMs: number[] = [];
  const scan = async (): Promise<void> => {
    while (isScanning && !isOver) {
      const start = performance.now();
      const response = await fetch(`http://127.0.0.1:${port}/query`, {
        method: 'POST',
        headers: { Authorization: 'Bearer bench', 'Content-Type': 'application/json' },
        body: JSON.stringify({ sql: SCAN }),
      });
      const text = await response.text();
      if (response.status !== 200) {
        throw new Error(`the scan was refused: ${text}`);
      }
      tookMs.push(performance.now() - start);
    }
  };
  const watch = async (): Promise<void> => {
    while (!isOver) {
      walBytes = Math.max(walBytes, statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0);
      await sleep(50);
    }
  };
  const main = async (): Promise<T> => {
    try {
      return await work();
    } finally {
      isOver = true;
    }
  };
  const [result] = await Promise.all([main(), scan(), watch()]);
  const scanMs = tookMs.reduce((sum, one) => sum + one, 0) / Math.max(1, tookMs.length);
  return [result, { scans: tookMs.length, scanMs, walBytes }];
}

export async function query(plan: Plan): Promise<Figure> {
  const events = plan.isQuick ? QUICK_EVENTS : EVENTS;
  const seconds = plan.isQuick ? 2 : 6;
  const directory = temporaryDirectory();
  const path = join(directory, 'events.db');
  const job: FillJob = { kind: 'fill', path, events, accessIds: ACCESS_IDS, feeds: [] };
  await ask<FillResult>('fill', job);
  let server: Running | undefined;
  let last: Beside = { scans: 0, scanMs: 0, walBytes: 0 };
  const receipt = async (isScanning: boolean): Promise<number> => {
    const port = server?.port ?? 0;
    const [result, seen] = await beside(port, path, isScanning, () =>
      sockets({ port, accessId: 'near', isBare: false, kind: 'paced', sockets: 10, rate: 500, seconds }),
    );
    last = seen;
    return result.p99Ms;
  };
  const push = async (isScanning: boolean): Promise<number> => {
    const port = server?.port ?? 0;
    const [result, seen] = await beside(port, path, isScanning, () => loadOf(plan, port, 4, 1, ACCESS_IDS));
    last = seen;
    return result.p99Ms;
  };
  const board = new Board();
  await board.interleave(
    plan.runs,
    [
      ['500 events/s to 10 subscribers, p99', 'ms', () => receipt(false)],
      ['500 events/s to 10 subscribers, p99, scans beside it', 'ms', () => receipt(true)],
      ['a scan beside it', 'ms', () => Promise.resolve(last.scanMs)],
      ['push 4 × 1, p99', 'ms', () => push(false)],
      ['push 4 × 1, p99, scans beside it', 'ms', () => push(true)],
      ['largest write-ahead log meanwhile', 'MB', () => Promise.resolve(last.walBytes / MEGABYTE)],
    ],
    {
      before: async () => {
        server = await startServer(path);
      },
      after: async () => server?.stop(),
    },
  );
  removeTemporary(directory);
  return {
    title: `A query over ${events.toLocaleString('en')} events beside pushes`,
    note: `On SQLite. \`POST /query\` runs one full scan after the other: \`${SCAN}\`.`,
    series: board.series,
    claims: [
      {
        what: 'receipt p99, scans : no scans',
        values: board.ratio(
          '500 events/s to 10 subscribers, p99, scans beside it',
          '500 events/s to 10 subscribers, p99',
        ),
        ...atMost(1.2),
      },
      {
        what: 'push p99, scans : no scans',
        values: board.ratio('push 4 × 1, p99, scans beside it', 'push 4 × 1, p99'),
        ...atMost(1.2),
      },
      {
        what: 'largest write-ahead log',
        values: board.of('largest write-ahead log meanwhile'),
        ...atMost(512, 'MB'),
      },
    ],
  };
}
