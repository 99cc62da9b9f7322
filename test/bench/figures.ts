/** The figures: what is measured beside what, and what was promised. Each returns its series and its claims. */
import { join } from 'node:path';
import type { BaselineJob, Rate } from './baselines.ts';
import type { FillJob, FillResult } from './fill.ts';
import type { LoadJob, LoadResult } from './load.ts';
import {
  ask,
  type Helper,
  removeTemporary,
  type Running,
  startHelper,
  startServer,
  temporaryDirectory,
} from './server.ts';
import type { SocketsJob, SocketsResult } from './sockets.ts';
import { ratios } from './stats.ts';
import type { Structure, StructureJob, StructureResult } from './structures.ts';

export interface Plan {
  readonly runs: number;
  readonly isQuick: boolean;
  /** Events of the large file, 0 for none. */
  readonly fileEvents: number;
}

export interface Series {
  readonly name: string;
  readonly unit: string;
  /** One a run. */
  readonly values: readonly number[];
}

export interface Claim {
  readonly what: string;
  /** One a run: a ratio, or the figure itself. */
  readonly values: readonly number[];
  readonly target: number;
  readonly is: 'at least' | 'at most';
  readonly unit: string;
}

export interface Figure {
  readonly title: string;
  readonly note: string;
  readonly series: readonly Series[];
  readonly claims: readonly Claim[];
}

/** A name and how to measure it once. */
type Contestant = readonly [name: string, unit: string, measure: () => Promise<number>];

export class Board {
  readonly series: Series[] = [];

  /** A B C, A B C, …: what disturbs the machine disturbs all of them. */
  async interleave(runs: number, contestants: readonly Contestant[], each?: Hooks): Promise<void> {
    const values = contestants.map((): number[] => []);
    for (let run = 0; run < runs; run += 1) {
      await each?.before();
      for (const [at, [, , measure]] of contestants.entries()) {
        values[at]?.push(await measure());
      }
      await each?.after();
    }
    contestants.forEach(([name, unit], at) => this.series.push({ name, unit, values: values[at] ?? [] }));
  }

  of(name: string): readonly number[] {
    return this.series.find((series) => series.name === name)?.values ?? [];
  }

  ratio(above: string, below: string): number[] {
    return ratios(this.of(above), this.of(below));
  }
}

interface Hooks {
  before(): Promise<void>;
  after(): Promise<void>;
}

const baseline = (job: BaselineJob): Promise<Rate> => ask<Rate>('baselines', job);
export const sockets = (job: SocketsJob): Promise<SocketsResult> => ask<SocketsResult>('sockets', job);
const fill = (job: FillJob): Promise<FillResult> => ask<FillResult>('fill', job);

async function withBare<T>(
  kind: 'http' | 'ws',
  use: (port: number, helper: Helper<unknown>) => Promise<T>,
): Promise<T> {
  const helper = startHelper<{ port: number }>('baselines', { kind });
  try {
    return await use((await helper.result).port, helper);
  } finally {
    await helper.stop();
  }
}

async function withServer<T>(file: string | undefined, use: (server: Running) => Promise<T>): Promise<T> {
  const server = await startServer(file);
  try {
    return await use(server);
  } finally {
    await server.stop();
  }
}

export function loadOf(
  plan: Plan,
  port: number,
  connections: number,
  batch: number,
  accessIds: number,
  withIds = false,
): Promise<LoadResult> {
  const job: LoadJob = {
    port,
    connections,
    batch,
    accessIds,
    withIds,
    warmupSeconds: plan.isQuick ? 0.3 : 0.5,
    seconds: plan.isQuick ? 0.7 : 2,
  };
  return ask<LoadResult>('load', job);
}

const SHAPES = [
  [64, 1],
  [16, 100],
  [4, 1_000],
] as const;

const ACCESS_IDS = 1_000;
const MANY_ACCESS_IDS = 10_000;

export async function ingest(plan: Plan): Promise<Figure> {
  const board = new Board();
  const seconds = plan.isQuick ? 0.7 : 2;
  let server: Running | undefined;
  const events = async (connections: number, batch: number, withIds = false): Promise<number> =>
    (await loadOf(plan, server?.port ?? 0, connections, batch, ACCESS_IDS, withIds)).eventsPerSecond;
  const bare = async (batch: number): Promise<number> =>
    (await baseline({ kind: 'insert', batch, accessIds: ACCESS_IDS, seconds })).perSecond;
  await board.interleave(
    plan.runs,
    [
      ['push 64 × 1', 'events/s', () => events(64, 1)],
      [
        'node:http answering nothing, 64 connections',
        'requests/s',
        () =>
          withBare('http', async (port) => (await loadOf(plan, port, 64, 1, ACCESS_IDS)).requestsPerSecond),
      ],
      [
        'fdatasync of 4 KB',
        '/s',
        async () => (await baseline({ kind: 'fdatasync', seconds: 0.5 })).perSecond,
      ],
      ['push 16 × 100', 'events/s', () => events(16, 100)],
      ['better-sqlite3, 100 a transaction, inline index', 'events/s', () => bare(100)],
      ['push 4 × 1000', 'events/s', () => events(4, 1_000)],
      ['better-sqlite3, 1000 a transaction, inline index', 'events/s', () => bare(1_000)],
      ['push 16 × 100 with ids', 'events/s', () => events(16, 100, true)],
    ],
    {
      before: async () => {
        server = await startServer();
      },
      after: async () => server?.stop(),
    },
  );
  return {
    title: 'Push over HTTP, durable',
    note: 'A row names connections × events in a request. Every answer waits for its flush. The load generator runs on the same cores.',
    series: board.series,
    claims: [
      {
        what: 'push 64 × 1 : node:http answering nothing',
        values: board.ratio('push 64 × 1', 'node:http answering nothing, 64 connections'),
        ...atLeast(0.55),
      },
      {
        what: 'push 64 × 1 : fdatasync',
        values: board.ratio('push 64 × 1', 'fdatasync of 4 KB'),
        ...atLeast(5),
      },
      {
        what: 'push 16 × 100 : better-sqlite3, 100 a transaction',
        values: board.ratio('push 16 × 100', 'better-sqlite3, 100 a transaction, inline index'),
        ...atLeast(2),
      },
      {
        what: 'push 4 × 1000 : better-sqlite3, 1000 a transaction',
        values: board.ratio('push 4 × 1000', 'better-sqlite3, 1000 a transaction, inline index'),
        ...atLeast(1),
      },
    ],
  };
}

export async function latency(plan: Plan): Promise<Figure> {
  const board = new Board();
  const seconds = plan.isQuick ? 1 : 4;
  const target = (port: number): { port: number; accessId: string; isBare: boolean } => ({
    port,
    accessId: 'near',
    isBare: false,
  });
  let light: SocketsResult | undefined;
  let busy: SocketsResult | undefined;
  await board.interleave(plan.runs, [
    [
      'one push at a time, p50',
      'ms',
      () =>
        withServer(undefined, async ({ port }) => {
          light = await sockets({ ...target(port), kind: 'turns', sockets: 1, ahead: 0, batch: 1, seconds });
          busy = await sockets({ ...target(port), kind: 'paced', sockets: 100, rate: 1_000, seconds });
          return light.p50Ms;
        }),
    ],
    ['one push at a time, p99', 'ms', () => Promise.resolve(light?.p99Ms ?? 0)],
    ['1,000 events/s to 100 subscribers, p50', 'ms', () => Promise.resolve(busy?.p50Ms ?? 0)],
    ['1,000 events/s to 100 subscribers, p99', 'ms', () => Promise.resolve(busy?.p99Ms ?? 0)],
    ['fdatasync of 4 KB, p50', 'ms', async () => (await baseline({ kind: 'fdatasync', seconds: 0.5 })).p50Ms],
    [
      'node:http round trip, p50',
      'ms',
      () => withBare('http', async (port) => (await loadOf(plan, port, 1, 1, 1)).p50Ms),
    ],
  ]);
  const ground = board
    .of('fdatasync of 4 KB, p50')
    .map((sync, run) => 4 * sync + (board.of('node:http round trip, p50')[run] ?? 0));
  return {
    title: 'From push to receipt',
    note: 'Time from the first byte of the push to the receipt of the event on a subscribed socket, by one clock.',
    series: board.series,
    claims: [
      {
        what: 'one push at a time, p50 : 4 × fdatasync + round trip',
        values: ratios(board.of('one push at a time, p50'), ground),
        ...atMost(1),
      },
      { what: 'one push at a time, p99', values: board.of('one push at a time, p99'), ...atMost(5, 'ms') },
      {
        what: '1,000 events/s to 100 subscribers, p99',
        values: board.of('1,000 events/s to 100 subscribers, p99'),
        ...atMost(30, 'ms'),
      },
    ],
  };
}

export async function fanOut(plan: Plan): Promise<Figure> {
  const board = new Board();
  const seconds = plan.isQuick ? 1 : 2;
  for (const count of plan.isQuick ? [100, 1_000] : [100, 1_000, 5_000]) {
    const measure = async (port: number, batch: number, isBare: boolean): Promise<number> => {
      const target = { port, accessId: 'fan-out', isBare };
      return (await sockets({ ...target, kind: 'turns', sockets: count, ahead: 1, batch, seconds }))
        .perSecond;
    };
    const name = String(count);
    await board.interleave(plan.runs, [
      [
        `${name} sockets, single events`,
        'deliveries/s',
        () => withServer(undefined, ({ port }) => measure(port, 1, false)),
      ],
      [
        `${name} sockets, bare ws.send`,
        'deliveries/s',
        () => withBare('ws', (port) => measure(port, 1, true)),
      ],
      [
        `${name} sockets, ten a push`,
        'deliveries/s',
        () => withServer(undefined, ({ port }) => measure(port, 10, false)),
      ],
    ]);
  }
  return {
    title: 'Fan-out of one access_id',
    note: 'The load sends a push when the previous one is answered and every socket has received the one before that. Bare `ws` sends one frame to each socket and stores nothing.',
    series: board.series,
    claims: [
      {
        what: '1,000 sockets, single events : bare ws.send',
        values: board.ratio('1000 sockets, single events', '1000 sockets, bare ws.send'),
        ...atLeast(1.3),
      },
      {
        what: '1,000 sockets, ten a push : bare ws.send',
        values: board.ratio('1000 sockets, ten a push', '1000 sockets, bare ws.send'),
        ...atLeast(6),
      },
    ],
  };
}

export async function catchUp(plan: Plan): Promise<Figure> {
  const board = new Board();
  const directory = temporaryDirectory();
  const path = join(directory, 'events.db');
  const barePath = join(directory, 'bare.db');
  const large = plan.isQuick ? 100_000 : 1_000_000;
  const small = large / 10;
  // The large feed is every second event of the file, the small one every twentieth.
  const total = large * 2;
  const feeds = [
    { accessId: 'large', every: 2 },
    { accessId: 'small', every: 20 },
  ];
  await fill({ kind: 'fill', path, events: total, accessIds: ACCESS_IDS, feeds });
  await baseline({ kind: 'copy', from: path, to: barePath });
  const measure = (accessId: string, events: number): Promise<number> =>
    withServer(
      path,
      async ({ port }) =>
        (await sockets({ port, accessId, isBare: false, kind: 'catch-up', events })).perSecond,
    );
  const bare = async (accessId: string): Promise<number> =>
    (await baseline({ kind: 'select', path: barePath, accessId })).perSecond;
  const [small_, large_] = [small, large].map((count) => count.toLocaleString('en'));
  await board.interleave(plan.runs, [
    [`${small_ ?? ''} events over one socket`, 'events/s', () => measure('small', small)],
    [`${small_ ?? ''} events, paged SELECT`, 'events/s', () => bare('small')],
    [`${large_ ?? ''} events over one socket`, 'events/s', () => measure('large', large)],
    [`${large_ ?? ''} events, paged SELECT`, 'events/s', () => bare('large')],
    [
      `start by timestamp in a feed of ${large_ ?? ''}`,
      's',
      () =>
        withServer(path, async ({ port }) => {
          const target = { port, accessId: 'large', isBare: false };
          return (await sockets({ ...target, kind: 'timestamp', timestamp: total - 10 })).p50Ms / 1_000;
        }),
    ],
  ]);
  removeTemporary(directory);
  return {
    title: 'Catch-up over one socket',
    note: 'The small feed has every twentieth event of the file, the large feed every second one. The paged SELECT runs in one process, with an index (access_id, position) and 1,000 rows in a page.',
    series: board.series,
    claims: [
      {
        what: `${small_ ?? ''} events : paged SELECT`,
        values: board.ratio(`${small_ ?? ''} events over one socket`, `${small_ ?? ''} events, paged SELECT`),
        ...atLeast(0.75),
      },
      {
        what: `${large_ ?? ''} events : paged SELECT`,
        values: board.ratio(`${large_ ?? ''} events over one socket`, `${large_ ?? ''} events, paged SELECT`),
        ...atLeast(0.75),
      },
      {
        what: 'start by timestamp',
        values: board.of(`start by timestamp in a feed of ${large_ ?? ''}`),
        ...atMost(0.3, 's'),
      },
    ],
  };
}

export async function memory(plan: Plan): Promise<Figure> {
  const board = new Board();
  const count = 8_000;
  const perConnection = async (
    running: { port: number; rssBytes(): number },
    isBare: boolean,
  ): Promise<number> => {
    await settle();
    const before = running.rssBytes();
    const job: SocketsJob = { port: running.port, accessId: 'idle', isBare, kind: 'idle', sockets: count };
    const helper = startHelper<SocketsResult>('sockets', job);
    await helper.result;
    await settle();
    const bytes = running.rssBytes() - before;
    await helper.stop();
    return bytes / count / 1024;
  };
  await board.interleave(plan.runs, [
    [
      'idle subscribed connection',
      'KB',
      () => withServer(undefined, (server) => perConnection(server, false)),
    ],
    [
      'idle connection of bare ws',
      'KB',
      () => withBare('ws', (port, helper) => perConnection({ port, rssBytes: helper.rssBytes }, true)),
    ],
  ]);
  return {
    title: 'Memory of an idle connection',
    note: `Growth of the server's resident memory with ${count.toLocaleString('en')} sockets, divided by their number. Each socket is subscribed to one access_id.`,
    series: board.series,
    claims: [
      { what: 'idle connection', values: board.of('idle subscribed connection'), ...atMost(10, 'KB') },
    ],
  };
}

const STRUCTURES: readonly Structure[] = [
  'inline (access_id, position)',
  'inline (access_id, position) and (access_id, created_at)',
  'inline (integer access_id, position)',
  'as built: deferred',
];

export async function structures(plan: Plan): Promise<Figure> {
  const board = new Board();
  const events = plan.fileEvents;
  for (const structure of STRUCTURES) {
    let found: StructureResult | undefined;
    await board.interleave(plan.runs, [
      [
        `${structure}: append, 100 a transaction`,
        'events/s',
        async () => {
          const job: StructureJob = { structure, events, accessIds: MANY_ACCESS_IDS, seconds: 4 };
          found = await ask<StructureResult>('structures', job);
          return found.appendPerSecond;
        },
      ],
      [`${structure}: first page after a position, p50`, 'ms', () => Promise.resolve(found?.firstPage ?? 0)],
      [`${structure}: place by created_at, p50`, 'ms', () => Promise.resolve(found?.byTime ?? 0)],
      [`${structure}: event by id, p50`, 'ms', () => Promise.resolve(found?.byId ?? 0)],
    ]);
  }
  return {
    title: `Structures of the table at ${events.toLocaleString('en')} events`,
    note: `${MANY_ACCESS_IDS.toLocaleString('en')} access_ids; every tenth event has an id. The structure as built writes its index within the measured time and crosses a thread. The others are bare better-sqlite3, also durable.`,
    series: board.series,
    claims: [],
  };
}

export async function largeFile(plan: Plan): Promise<Figure> {
  const board = new Board();
  const directory = temporaryDirectory();
  const path = join(directory, 'events.db');
  const events = plan.fileEvents;
  const feedEvents = Math.floor(events / 100);
  const feeds = [{ accessId: 'feed', every: 100 }];
  const { total } = await fill({ kind: 'fill', path, events, accessIds: MANY_ACCESS_IDS, feeds });
  const measure = async (server: Running | undefined, connections: number, batch: number): Promise<number> =>
    (await loadOf(plan, server?.port ?? 0, connections, batch, MANY_ACCESS_IDS)).eventsPerSecond;
  let found: FillResult | undefined;
  let full: Running | undefined;
  let empty: Running | undefined;
  await board.interleave(plan.runs, [
    [
      'first page of an access_id, p50',
      'ms',
      async () => {
        found = await fill({ kind: 'look-up', path, events, accessIds: MANY_ACCESS_IDS });
        return found.firstPage;
      },
    ],
    ['place by created_at, p50', 'ms', () => Promise.resolve(found?.byTime ?? 0)],
    ['event by id, p50', 'ms', () => Promise.resolve(found?.byId ?? 0)],
  ]);
  await board.interleave(
    plan.runs,
    [
      ...SHAPES.flatMap(([connections, batch]): Contestant[] => [
        [
          `push ${shape(connections, batch)}, large file`,
          'events/s',
          () => measure(full, connections, batch),
        ],
        [
          `push ${shape(connections, batch)}, empty file`,
          'events/s',
          () => measure(empty, connections, batch),
        ],
      ]),
      [
        `${feedEvents.toLocaleString('en')} events over one socket`,
        'events/s',
        async () => {
          const target = { port: full?.port ?? 0, accessId: 'feed', isBare: false };
          return (await sockets({ ...target, kind: 'catch-up', events: feedEvents })).perSecond;
        },
      ],
    ],
    {
      before: async () => {
        full = await startServer(path);
        empty = await startServer();
      },
      after: async () => {
        await full?.stop();
        await empty?.stop();
      },
    },
  );
  removeTemporary(directory);
  return {
    title: `A file of ${events.toLocaleString('en')} events`,
    note: `${MANY_ACCESS_IDS.toLocaleString('en')} access_ids. The engine filled the file in ${total.toFixed(0)} s.`,
    series: board.series,
    claims: SHAPES.map(([connections, batch]) => ({
      what: `push ${shape(connections, batch)}, large : empty file`,
      values: board.ratio(
        `push ${shape(connections, batch)}, large file`,
        `push ${shape(connections, batch)}, empty file`,
      ),
      ...atLeast(0.8),
    })),
  };
}

function shape(connections: number, batch: number): string {
  return `${connections} × ${batch}`;
}

/** Until what was begun (collecting garbage, closing, opening) is over. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1_500));
}

export function atLeast(target: number, unit = ''): Pick<Claim, 'target' | 'is' | 'unit'> {
  return { target, is: 'at least', unit };
}

export function atMost(target: number, unit = ''): Pick<Claim, 'target' | 'is' | 'unit'> {
  return { target, is: 'at most', unit };
}
