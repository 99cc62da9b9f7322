/**
 * Two nodes over a PostgreSQL whose network and processes fail in every way. `npm run test:chaos` runs more faults;
 * `CHAOS_SEED` repeats their order.
 */
import { it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Chance, SEED, withSeed } from '../support/chance.ts';
import { followAlways, startConnector, untilMore } from '../support/load.ts';
import { createDatabase, type PostgresServer, runSql, startPostgresServer } from '../support/postgres.ts';
import { type ServerProcess, startProcess } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { type Proxy, startProxy } from '../support/proxy.ts';
import { checkChaos, type Followers } from './check.ts';

/** Faults go on for so long, and each kind comes at least once. */
const SECONDS = Number(process.env['CHAOS_SECONDS'] ?? 0);

const CONNECTORS = 8;
const FEEDS = ['feed-0', 'feed-1', 'feed-2', 'feed-3'];

/** Shorter than some faults: the connector then pushes the same ids to the other node. */
const PUSH_TIMEOUT_MS = 2_000;

interface Node {
  readonly server: ServerProcess;
  /** Between the node and PostgreSQL. */
  readonly proxy: Proxy;
}

interface Stage {
  readonly chance: Chance;
  readonly postgres: PostgresServer;
  readonly databaseUrl: string;
}

type Fault = (node: Node, stage: Stage) => Promise<void>;

/** Ends some of the backends of both nodes. */
async function terminateSome({ chance, databaseUrl }: Stage): Promise<void> {
  const { rows } = await runSql(
    databaseUrl,
    `select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() order by pid`,
  );
  const ids = rows.map((row: { pid: number }) => row.pid).filter(() => chance.pick([true, false]));
  await runSql(databaseUrl, `select pg_terminate_backend(pid) from unnest('{${ids.join()}}'::int[]) as pid`);
}

const FAULTS = {
  cut({ proxy }) {
    proxy.cut();
    return Promise.resolve();
  },
  async delay({ proxy }, { chance }) {
    const delayMs = chance.between(50, 1_500);
    proxy.delay(delayMs);
    await sleep(delayMs);
  },
  async 'swallow, then cut'({ proxy }, { chance }) {
    proxy.swallow();
    await sleep(chance.between(50, 1_500));
    proxy.cut();
  },
  terminate: (_, stage) => terminateSome(stage),
  async restart(_, { chance, postgres }) {
    await postgres.stop();
    await sleep(chance.between(0, 1_000));
    await postgres.start();
  },
  async freeze({ server }, stage) {
    server.child.kill('SIGSTOP');
    await sleep(stage.chance.between(50, 1_500));
    await stage.chance.pick([terminateSome, () => Promise.resolve()])(stage);
    await sleep(stage.chance.between(0, 1_500));
    server.child.kill('SIGCONT');
  },
} satisfies Record<string, Fault>;

/** The node must notice by itself, which takes up to half a minute: only where faults go on for minutes. */
const LONG_FAULTS = {
  swallow({ proxy }) {
    proxy.swallow();
    return Promise.resolve();
  },
} satisfies Record<string, Fault>;

const isLong = SECONDS >= 60;
const ALL_FAULTS: Readonly<Record<string, Fault>> = isLong ? { ...FAULTS, ...LONG_FAULTS } : FAULTS;

async function startNode(postgres: PostgresServer, databaseUrl: string): Promise<Node> {
  const proxy = await startProxy(postgres.port);
  const url = new URL(databaseUrl);
  url.port = String(proxy.port);
  return { proxy, server: await startProcess('', { DATABASE_URL: url.href, LASTSEEN_LOG: 'silent' }) };
}

async function play(context: TestContext, chance: Chance): Promise<void> {
  /** The last one runs first. */
  const cleanups: (() => Promise<unknown>)[] = [];
  context.after(async () => {
    for (const clean of cleanups.reverse()) {
      await clean();
    }
  });
  const postgres = await startPostgresServer();
  cleanups.push(() => postgres.remove());
  const { url: databaseUrl } = await createDatabase(postgres.url);
  const first = await startNode(postgres, databaseUrl);
  const second = await startNode(postgres, databaseUrl);
  const nodes = [first, second] as const;
  for (const { server, proxy } of nodes) {
    cleanups.push(async () => {
      await server.end('SIGKILL');
      await proxy.close();
    });
  }
  const urls = nodes.map(({ server }) => server.url);
  const ports = nodes.map(({ server }) => server.port);
  const connectors = Array.from({ length: CONNECTORS }, (_, number) => {
    const [url = '', ...otherUrls] = number % 2 === 0 ? urls : [...urls].reverse();
    const accessId = FEEDS[number % FEEDS.length] ?? '';
    const name = `c${number}`;
    return startConnector({
      url,
      otherUrls,
      accessId,
      name,
      batchEvents: number + 1,
      timeoutMs: PUSH_TIMEOUT_MS,
    });
  });
  const followers: Followers = new Map(
    FEEDS.map((feed) => [feed, [followAlways(ports, feed), followAlways([...ports].reverse(), feed)]]),
  );
  cleanups.push(async () => {
    for (const connector of connectors) {
      connector.giveUp();
    }
    await Promise.all([...followers.values()].flat().map((follower) => follower.stop()));
  });

  const stage: Stage = { chance, postgres, databaseUrl };
  const names = Object.keys(ALL_FAULTS);
  const endMs = performance.now() + SECONDS * 1_000;
  let count = 0;
  for (let queue = chance.shuffle(names); queue.length > 0;) {
    await untilMore(connectors, 1, `acknowledgements after ${count} faults`);
    await sleep(chance.between(0, 300));
    const name = queue.shift() ?? '';
    await ALL_FAULTS[name]?.(chance.pick(nodes), stage);
    count += 1;
    if (queue.length === 0 && performance.now() < endMs) {
      queue = chance.shuffle(names);
    }
  }
  await Promise.all(connectors.map((connector) => connector.stop()));
  const events = await checkChaos(
    {
      settings: { DATABASE_URL: databaseUrl },
      rows: async (sql) => (await runSql(databaseUrl, sql)).rows as unknown[],
    },
    { connectors, followers },
  );
  context.diagnostic(`seed ${SEED}: ${count} faults, ${events} acknowledged events`);
}

it(
  'G1–G5: whatever happens to PostgreSQL and the network, each acknowledged event is there once, in order, and each follower got its feed',
  { skip: missing('PostgreSQL') },
  (context) => withSeed((chance) => play(context, chance)),
);
