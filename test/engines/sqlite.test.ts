/** The SQLite engine: the contract, and what is its own. */
import assert from 'node:assert/strict';
import { linkSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { FLUSH_EVENTS } from '../../src/engines/sqlite/deferred-index.ts';
import { openSqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { openSqliteStore } from '../../src/engines/sqlite/store.ts';
import { LastseenError } from '../../src/errors.ts';
import { createLog } from '../../src/log/log.ts';
import type { EventStore } from '../../src/log/store.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { event, readAll, storeContract } from './contract.ts';

storeContract('SQLite', async () => {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'log.db');
  let store: EventStore = (await openSqliteEngine({ path, runtime: systemRuntime })).store;
  return {
    store: () => store,
    async reopen() {
      await store.close();
      store = (await openSqliteEngine({ path, runtime: systemRuntime })).store;
      return store;
    },
    async close() {
      await store.close();
      directory.remove();
    },
  };
});

describe('SQLite', () => {
  it('the database itself refuses to change, delete or replace an event', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    const { store } = await openSqliteEngine({ path, runtime: systemRuntime });
    const log = await createLog({ store, runtime: systemRuntime });
    await log.append({ events: [event('a', 1), event('a', 2)], key: null });
    const other = new Database(path);
    const row = `(1, 'a', 1, 0, 0, null, '9', 1)`;
    for (const sql of [
      `update events set payload = '9'`,
      'delete from events',
      'delete from events where position = 1',
      `insert or replace into events values ${row}`,
      `replace into events values ${row}`,
    ]) {
      assert.throws(() => other.exec(sql), /append-only/, sql);
    }
    const views =
      other.prepare('select * from event_history').all().length +
      other.prepare('select * from event_counts').all().length;
    assert.equal(views, 3);
    assert.equal(other.pragma('journal_mode', { simple: true }), 'wal');
    other.close();
    await log.close();
    directory.remove();
  });

  it('a second start on the same file is refused and the first goes on', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    const { store } = await openSqliteEngine({ path, runtime: systemRuntime });
    const log = await createLog({ store, runtime: systemRuntime });
    await assert.rejects(
      openSqliteEngine({ path, runtime: systemRuntime }),
      (error) => error instanceof LastseenError && error.code === 'ERR_STORE_LOCKED',
    );
    assert.equal((await log.append({ events: [event('a', 1)], key: null })).length, 1);
    await log.close();
    const again = await openSqliteEngine({ path, runtime: systemRuntime });
    await again.store.close();
    directory.remove();
  });

  it('a second start on the same file is refused under whatever name: a symbolic link, a linked directory, a hard link', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    const { store } = await openSqliteEngine({ path, runtime: systemRuntime });
    symlinkSync(path, join(directory.path, 'link.db'));
    symlinkSync('link.db', join(directory.path, 'second-link.db'));
    symlinkSync(directory.path, join(directory.path, 'linked'));
    const isLocked = (error: unknown): boolean =>
      error instanceof LastseenError && error.code === 'ERR_STORE_LOCKED';
    for (const name of ['link.db', 'second-link.db', 'linked/log.db', 'linked/link.db', './log.db']) {
      const other = `${directory.path}/${name}`;
      await assert.rejects(openSqliteEngine({ path: other, runtime: systemRuntime }), isLocked, name);
    }
    const hardLink = join(directory.path, 'hard-link.db');
    linkSync(path, hardLink);
    await assert.rejects(openSqliteEngine({ path: hardLink, runtime: systemRuntime }), isLocked);
    await store.close();
    await assert.rejects(openSqliteEngine({ path, runtime: systemRuntime }), /has 2 names \(hard links\)/);
    unlinkSync(hardLink);
    const again = await openSqliteEngine({ path: join(directory.path, 'link.db'), runtime: systemRuntime });
    await again.store.close();
    directory.remove();
  });

  it('a link whose file is missing makes the file that it names', async () => {
    const directory = temporaryDirectory();
    symlinkSync('log.db', join(directory.path, 'link.db'));
    const { store } = await openSqliteEngine({
      path: join(directory.path, 'link.db'),
      runtime: systemRuntime,
    });
    await assert.rejects(
      openSqliteEngine({ path: join(directory.path, 'log.db'), runtime: systemRuntime }),
      /in use by another lastseen process/,
    );
    await store.close();
    directory.remove();
  });

  it('G14: when the writer thread ends, the group that it had is not known, later ones are refused, the bounds fail and the process is told to end', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    await (await openSqliteEngine({ path, runtime: systemRuntime })).store.close();
    const fatal: Error[] = [];
    const threads: Worker[] = [];
    const store = await openSqliteStore({
      path,
      runtime: systemRuntime,
      onError: () => undefined,
      onNotice: () => undefined,
      onFatal: (error) => fatal.push(error),
      startThread(name) {
        const thread = new Worker(new URL(`../../src/engines/sqlite/${name}.ts`, import.meta.url), {
          workerData: { path },
        });
        threads.push(thread);
        return thread;
      },
    });
    const request = { events: [event('a', 1)], key: null };
    const history = await store.open();
    const appending = history.append([request]);
    const [writer] = threads;
    await writer?.terminate();
    const code = (error: unknown): string | undefined =>
      error instanceof LastseenError ? error.code : undefined;
    const outcome = await appending.then(
      () => 'appended',
      (error: unknown) => code(error),
    );
    assert.ok(outcome === 'appended' || outcome === 'ERR_OUTCOME_UNKNOWN', outcome);
    await assert.rejects(
      async () => history.append([request]),
      (error) => code(error) === 'ERR_STORE_UNAVAILABLE',
    );
    await assert.rejects(history.bounds(), (error) => code(error) === 'ERR_STORE_UNAVAILABLE');
    assert.deepEqual(
      fatal.map(({ message }) => message),
      ['the writer thread has ended'],
    );
    await store.close();
    directory.remove();
  });

  it('a start indexes what crashes have left, and the index makes progress however often the process is killed', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    await (await openSqliteEngine({ path, runtime: systemRuntime })).store.close();
    const file = new Database(path);
    const insert = file.prepare(
      `insert into events (position, access_id, version, created_at, recorded_at, payload) values (?, ?, ?, 0, 0, '0')`,
    );
    const fill = file.transaction((from: number, through: number) => {
      for (let position = from; position <= through; position += 1) {
        insert.run(position, `feed ${position % 10}`, Math.ceil(position / 10));
      }
    });
    fill(1, 200_000);
    const indexed = (): number => file.prepare<[], number>('select indexed from log').pluck().get() ?? 0;
    const { store } = await openSqliteEngine({ path, runtime: systemRuntime });
    assert.ok(indexed() > 200_000 - FLUSH_EVENTS, String(indexed()));
    const log = await createLog({ store, runtime: systemRuntime });
    assert.equal((await readAll(log, 'feed 3')).length, 20_000);
    assert.equal((await log.append({ events: [event('feed 3', 1)], key: null }))[0]?.version, 20_001);
    assert.equal((await log.resolve('feed 3', { createdAt: 1 })).position, 200_001);
    await log.close();
    file.close();
    directory.remove();
  });

  it('G11: a start by time finds the same event before, while and after its index is written', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    let { store } = await openSqliteEngine({ path, runtime: systemRuntime });
    let log = await createLog({ store, runtime: systemRuntime });
    const times = [50, 10, 40, 20, 60, 30];
    for (const createdAt of times) {
      await log.append({
        events: [event('timed', 0, { createdAt }), event('other', 0, { createdAt: 99 })],
        key: null,
      });
    }
    const startAt = async (createdAt: number): Promise<number> =>
      (await log.resolve('timed', { createdAt })).position;
    const starts = async (): Promise<number[]> => Promise.all([5, 50, 51, 60].map(startAt));
    assert.deepEqual(await starts(), [0, 0, 7, 7]);
    assert.equal(await startAt(61), 11);
    await log.close();
    ({ store } = await openSqliteEngine({ path, runtime: systemRuntime }));
    log = await createLog({ store, runtime: systemRuntime });
    assert.deepEqual(await starts(), [0, 0, 7, 7]);
    await log.prune({ through: 0 });
    assert.deepEqual(await starts(), [0, 0, 7, 7]);
    await log.append({ events: [event('timed', 0, { createdAt: 70 })], key: null });
    assert.equal(await startAt(61), 11);
    await log.close();
    directory.remove();
  });

  it('code older than the database refuses to open it', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    await (await openSqliteEngine({ path, runtime: systemRuntime })).store.close();
    const other = new Database(path);
    other.exec(`insert into knex_migrations (name, batch, migration_time) values ('9999_future', 2, 0)`);
    other.close();
    await assert.rejects(
      openSqliteEngine({ path, runtime: systemRuntime }),
      /newer than this program.*9999_future/,
    );
    directory.remove();
  });

  it('a database without its log refuses to open, and leaves neither the lock nor a thread behind', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    await (await openSqliteEngine({ path, runtime: systemRuntime })).store.close();
    const other = new Database(path);
    other.exec('delete from log');
    await assert.rejects(openSqliteEngine({ path, runtime: systemRuntime }), /no row in table log/);
    other.exec(`insert into log values (1, 'restored', 1, 0, 1)`);
    other.close();
    const again = await openSqliteEngine({ path, runtime: systemRuntime });
    assert.equal((await (await again.store.open()).bounds()).epoch, 'restored');
    await again.store.close();
    directory.remove();
  });
});
