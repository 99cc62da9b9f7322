/** Retention on both engines: whose clock it trusts, what it leaves, and how it takes turns with pushes. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import SqliteFile from 'better-sqlite3';
import pg from 'pg';
import type { Engine } from '../../src/engines/engine.ts';
import { openEngine } from '../../src/engines/open.ts';
import { openDeferredIndex } from '../../src/engines/sqlite/deferred-index.ts';
import { openSqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { createSqlitePruner } from '../../src/engines/sqlite/prune.ts';
import { createTransactions } from '../../src/engines/sqlite/transaction.ts';
import { RetentionRefused, startRetention } from '../../src/log/retention.ts';
import type { History } from '../../src/log/store.ts';
import type { Logger } from '../../src/logger.ts';
import type { Runtime } from '../../src/runtime.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { createManualRuntime } from '../support/manual-runtime.ts';
import { runSql } from '../support/postgres.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';
import { event } from './contract.ts';
import { eachEngine, type EngineDatabase } from './each-engine.ts';

const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;
const AGE = { maxAgeMs: 30 * DAY_MS };

/** Runs a statement past the server. */
async function execute(database: EngineDatabase, sql: string): Promise<void> {
  if (database.target.kind === 'postgres') {
    await runSql(database.url, sql);
    return;
  }
  const file = new SqliteFile(database.target.path);
  file.exec(sql);
  file.close();
}

/** Fills an empty log with events of one feed that were recorded at these times. */
async function fill(database: EngineDatabase, recordedAts: readonly number[]): Promise<void> {
  await (await openEngine(database.target, { runtime: systemRuntime })).store.close();
  const rows = recordedAts.map((time, index) => `(${index + 1}, 'aged', ${index + 1}, 0, ${time}, '0', 1)`);
  await execute(
    database,
    `insert into events (position, access_id, version, created_at, recorded_at, payload, tag) values ${rows.join(', ')}`,
  );
  if (database.target.kind === 'postgres') {
    await execute(database, `update log set head = ${recordedAts.length}, head_tag = 1`);
  }
}

function aheadBy(ms: number): Runtime {
  const { clock } = systemRuntime;
  return { ...systemRuntime, clock: { now: () => clock.now() + ms, steady: () => clock.steady() } };
}

async function append(store: History, key: string, accessId = 'a'): Promise<number> {
  const answer = await store.append([
    { events: [event(accessId, key)], key: { value: key, fingerprint: key } },
  ]);
  const [outcome] = 'pending' in answer ? (await answer.pending).outcomes : answer.outcomes;
  assert.ok(outcome !== undefined && 'receipts' in outcome);
  return outcome.receipts[0]?.position ?? 0;
}

describe('retention', () => {
  eachEngine((engine) => {
    const open: Engine[] = [];
    async function openStore(database: EngineDatabase, runtime = systemRuntime): Promise<History> {
      const opened = await openEngine(database.target, { runtime });
      open.push(opened);
      return opened.store.open();
    }
    async function closeAll(): Promise<void> {
      for (const { store } of open.splice(0)) {
        await store.close();
      }
    }
    after(closeAll);

    it('G11: an event recorded a year ahead does not stop retention by age, and goes with the events after it', async () => {
      const database = await engine.createDatabase();
      const now = systemRuntime.clock.now();
      const day = (age: number): number => now - age * DAY_MS;
      await fill(database, [day(40), now + YEAR_MS, day(39), day(1), now + YEAR_MS, day(31), day(0)]);
      const store = await openStore(database);
      assert.equal(await store.prune(AGE), 3);
      assert.equal((await store.bounds()).floor, 4);
      await closeAll();
    });

    it('G11: a node whose clock is a year ahead deletes nothing', async () => {
      const database = await engine.createDatabase();
      await fill(database, [systemRuntime.clock.now() - DAY_MS, systemRuntime.clock.now()]);
      const store = await openStore(database, aheadBy(YEAR_MS));
      for (let run = 0; run < 3; run += 1) {
        await store.prune(AGE).catch((error: unknown) => {
          assert.ok(error instanceof RetentionRefused);
        });
        // The events of this node carry its time.
        await append(store, `run ${run}`);
      }
      assert.equal((await store.bounds()).floor, 1);
      await closeAll();
    });

    it('a clock that jumped since the last run deletes by age only when told to, and by count as before', async () => {
      const database = await engine.createDatabase();
      const now = systemRuntime.clock.now();
      await fill(database, [now - 31 * DAY_MS, now - 31 * DAY_MS, now, now]);
      await execute(database, `insert into retention values (1, ${now - YEAR_MS})`);
      const store = await openStore(database);
      for (let run = 0; run < 2; run += 1) {
        await assert.rejects(store.prune({ ...AGE, keepPerAccessId: 3 }), (error) => {
          assert.ok(error instanceof RetentionRefused);
          assert.match(error.message, /365\.0 days after the last run of retention.*--trust-clock/);
          return error.pruned === 1 - run;
        });
      }
      assert.equal((await store.bounds()).floor, 2);
      assert.equal(await store.prune({ ...AGE, trustsClock: true }), 1);
      assert.equal(await store.prune(AGE), 0);
      assert.equal((await store.bounds()).floor, 3);
      await closeAll();
    });

    it('G5, G6: while everything is pruned, pushes keep their keys as long as their events, and no floor passes an event', async () => {
      const database = await engine.createDatabase();
      const store = await openStore(database);
      const positions = new Map<string, number>();
      const over = new AbortController();
      const pruning = (async () => {
        while (!over.signal.aborted) {
          await store.prune({ through: Number.MAX_SAFE_INTEGER });
        }
      })();
      for (let count = 0; count < 100; count += 1) {
        positions.set(`key ${count}`, await append(store, `key ${count}`, `feed ${count % 7}`));
      }
      over.abort();
      await pruning;
      assert.deepEqual(
        [...positions.values()],
        Array.from({ length: 100 }, (_, index) => index + 1),
      );
      const { floor, head } = await store.bounds();
      assert.equal(head, 100);
      const standing = (await store.readLog(0, { maxEvents: 1_000, maxBytes: 1e6 })).map(
        ({ position }) => position,
      );
      assert.equal(standing[0] ?? head + 1, floor);
      for (const [key, position] of positions) {
        if (standing.includes(position)) {
          assert.equal(await append(store, key, `feed ${(position - 1) % 7}`), position);
        }
      }
      await closeAll();
    });

    it('retention that is told to stop ends after its present step', async () => {
      const database = await engine.createDatabase();
      const store = await openStore(database);
      const events = Array.from({ length: 20_000 }, (_, index) => event(`feed ${index % 10_000}`, index));
      await store.append([{ events, key: null }]);
      const stop = new AbortController();
      const running = store.prune({ keepPerAccessId: 1 }, stop.signal);
      await until(async () => (await store.prunedThrough(['feed 0'])).position > 0, 'the first deletion');
      stop.abort();
      const pruned = await running;
      assert.ok(pruned > 0 && pruned < 10_000, String(pruned));
      assert.equal(await store.prune({ keepPerAccessId: 1 }), 10_000 - pruned);
      await closeAll();
    });

    if (engine.name === 'PostgreSQL') {
      it('G5: a floor is found under the append lock: an append that commits meanwhile keeps its event and its key', async () => {
        const database = await engine.createDatabase();
        const store = await openStore(database);
        await append(store, 'first');
        const other = new pg.Client({ connectionString: database.url });
        await other.connect();
        try {
          await other.query(`begin; select pg_advisory_xact_lock(4793211001);
            insert into events (position, access_id, version, created_at, recorded_at, payload, tag)
              values (2, 'a', 2, 0, 0, '0', 1);
            insert into batches values ('second', 'second', 2, 2, 1);
            update log set head = 2, head_tag = 1`);
          const pruning = store.prune({ through: 1 });
          await until(async () => {
            const { rows } = await runSql(
              database.url,
              `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
            );
            return rows.length > 0;
          }, 'pruning to wait for the append');
          await other.query('commit');
          assert.equal(await pruning, 1);
        } finally {
          await other.end();
        }
        assert.equal((await store.bounds()).floor, 2);
        assert.equal((await database.rows('select key from batches')).length, 1);
        await closeAll();
      });

      it('the names of connections that have appended nothing for 30 days are deleted at a start', async () => {
        const database = await engine.createDatabase();
        await (await openEngine(database.target, { runtime: systemRuntime })).store.close();
        await execute(
          database,
          `insert into writers values ('old', now() - interval '31 days', 1, 1), ('young', now(), 1, 1)`,
        );
        await openStore(database);
        assert.deepEqual(await database.rows('select writer_id from writers'), [{ writer_id: 'young' }]);
        await closeAll();
      });
    }
  });

  describe('on SQLite', () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    before(async () => {
      const { store } = await openSqliteEngine({ path, runtime: systemRuntime });
      const events = Array.from({ length: 20_000 }, (_, index) => event(`feed ${index % 10_000}`, index));
      const history = await store.open();
      await history.append([{ events, key: null }]);
      await history.prune({ through: 0 });
      await store.close();
    });
    after(() => {
      directory.remove();
    });

    it('one transaction deletes events of many feeds', async () => {
      const db = new SqliteFile(path);
      const transactions = createTransactions(db);
      openDeferredIndex(db);
      let count = 0;
      const pruner = createSqlitePruner({
        db,
        transactions: {
          ...transactions,
          run(work) {
            count += 1;
            transactions.run(work);
          },
        },
        head: () => 20_000,
        flushIndex: () => Promise.resolve(),
        timers: systemRuntime.timers,
      });
      const { signal } = new AbortController();
      const { pruned } = await pruner.prune({ keepPerAccessId: 1 }, { now: 0, signal });
      db.close();
      assert.equal(pruned, 10_000);
      // 250 events each, and what is swept afterwards.
      assert.ok(count <= 50, `${count} transactions`);
    });
  });

  it('the server says once that the clock has jumped, and again after it was right meanwhile', async () => {
    const lines: string[] = [];
    const logger = { info: () => undefined, error: (line: string) => lines.push(line) } as unknown as Logger;
    const answers = ['refuse', 'refuse', 'act', 'refuse', 'refuse'];
    const runtime = createManualRuntime();
    const log = {
      prune: () =>
        answers.shift() === 'act' ? Promise.resolve(0) : Promise.reject(new RetentionRefused('it jumped', 0)),
    };
    const stop = startRetention({ log, retention: AGE, logger, runtime });
    await runtime.advance(4 * 60_000);
    await stop();
    assert.deepEqual(lines, Array(2).fill('retention by age is stopped: it jumped'));
  });
});
