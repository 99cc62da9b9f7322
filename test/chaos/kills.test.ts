/**
 * A server under load that is killed again and again: while it starts, while it appends, and inside a flush of the SQLite
 * index. `npm run test:chaos` runs more kills; `CHAOS_SEED` repeats their moments.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { SEGMENT_EVENTS } from '../../src/engines/sqlite/deferred-index.ts';
import { eachEngine, type EngineDatabase } from '../engines/each-engine.ts';
import { type Chance, SEED, withSeed } from '../support/chance.ts';
import { type Connector, followAlways, startConnector, untilMore } from '../support/load.ts';
import { killStarting, type ServerProcess, startProcess } from '../support/process.ts';
import { type Proxy, startProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { checkChaos, type Followers } from './check.ts';

const KILLS = Number(process.env['CHAOS_KILLS'] ?? 5);

const CONNECTORS = 8;
const FEEDS = ['feed-0', 'feed-1', 'feed-2', 'feed-3'];

/** Nothing listens here: a server that was killed cannot be mistaken for another program that got its port. */
const NOWHERE = 0;

/** So many feeds give a flush of the index several slices, each with a commit of its own. */
const FLUSHED_FEEDS = 6_000;
const FLUSHED_BATCH = 8_192;

/** A row, if the index on disk has rows of a flush that did not end. */
const UNFINISHED_FLUSH = `select 1 from event_index, log
  where segment >= (indexed + 1) / ${SEGMENT_EVENTS} and segment * ${SEGMENT_EVENTS} + last_offset > indexed limit 1`;

type Moment = 'running' | 'starting' | 'flushing';

function momentOf(kill: number, database: EngineDatabase): Moment {
  if (kill % 10 === 2 && database.target.kind === 'sqlite') {
    return 'flushing';
  }
  return kill % 5 === 3 ? 'starting' : 'running';
}

interface Play {
  readonly database: EngineDatabase;
  readonly chance: Chance;
  /** Clients reach the server of the moment through it. */
  readonly proxy: Proxy;
  readonly connectors: readonly Connector[];
  /** Connectors that have filled the log up to a flush join it, and push no more. */
  readonly fillers: Connector[];
}

interface Killed {
  /** The server after the last kill. */
  readonly server: ServerProcess;
  /** Kills that left a flush of the index on disk that did not end. */
  readonly insideFlush: number;
}

async function killAgain({ database, chance, proxy, connectors, fillers }: Play): Promise<Killed> {
  let insideFlush = 0;
  for (let kill = 0; ; kill += 1) {
    const server = await startProcess('', database.settings);
    try {
      proxy.redirect(server.port);
      await untilMore(connectors, 1, `acknowledgements after ${kill} kills`);
      if (kill === KILLS) {
        return { server, insideFlush };
      }
      const moment = momentOf(kill, database);
      if (moment === 'flushing') {
        await reachFlush(database, { name: `fill${kill}`, proxy, fillers });
      } else {
        await sleep(chance.between(0, 250));
      }
      await server.end('SIGKILL');
      proxy.redirect(NOWHERE);
      if (moment === 'flushing') {
        insideFlush += (await database.rows(UNFINISHED_FLUSH)).length;
      }
      if (moment === 'starting') {
        await killStarting(database.settings, chance.between(50, 1_000));
      }
    } catch (error) {
      await server.end('SIGKILL');
      throw error;
    }
  }
}

/** Fills the log until a flush of the index has begun and has not ended. */
async function reachFlush(
  { target }: EngineDatabase,
  { name, proxy, fillers }: Pick<Play, 'proxy' | 'fillers'> & { readonly name: string },
): Promise<void> {
  assert.ok(target.kind === 'sqlite');
  const filler = startConnector({
    url: `http://127.0.0.1:${proxy.port}`,
    accessId: (number) => `flushed-${number % FLUSHED_FEEDS}`,
    name,
    batchEvents: FLUSHED_BATCH,
  });
  fillers.push(filler);
  const file = new Sqlite(target.path, { readonly: true });
  try {
    const selectUnfinished = file.prepare(UNFINISHED_FLUSH);
    await until(() => selectUnfinished.get() !== undefined, 'a flush of the index');
  } finally {
    file.close();
    // Its last batch is acknowledged by a later server.
    filler.stop().catch(() => undefined);
  }
}

describe('kill -9 again and again', () => {
  eachEngine((engine) => {
    it(`G1–G5: after ${KILLS} kills each acknowledged event is there once, in order, and each follower got its feed`, (context) =>
      withSeed(async (chance) => {
        const database = await engine.createDatabase();
        const proxy = await startProxy(NOWHERE);
        const url = `http://127.0.0.1:${proxy.port}`;
        const connectors = Array.from({ length: CONNECTORS }, (_, number) =>
          startConnector({
            url,
            accessId: FEEDS[number % FEEDS.length] ?? '',
            name: `c${number}`,
            batchEvents: number + 1,
          }),
        );
        const followers: Followers = new Map(FEEDS.map((feed) => [feed, [followAlways([proxy.port], feed)]]));
        const fillers: Connector[] = [];
        let killed: Killed | undefined;
        try {
          killed = await killAgain({ database, chance, proxy, connectors, fillers });
          const pushers = [...connectors, ...fillers];
          await Promise.all(pushers.map((connector) => connector.stop()));
          const count = await checkChaos(database, { connectors: pushers, followers });
          context.diagnostic(
            `seed ${SEED}: ${KILLS} kills, ${killed.insideFlush} inside a flush, ${count} acknowledged events`,
          );
        } finally {
          await Promise.all([...followers.values()].flat().map((follower) => follower.stop()));
          for (const connector of [...connectors, ...fillers]) {
            connector.giveUp();
          }
          await killed?.server.end('SIGKILL');
          await proxy.close();
        }
      }));
  });
});
