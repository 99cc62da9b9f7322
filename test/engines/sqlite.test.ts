/** The SQLite engine: the contract, and what is its own. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import Database from 'better-sqlite3';
import { openSqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { LastseenError } from '../../src/errors.ts';
import { createLog } from '../../src/log/log.ts';
import type { EventStore } from '../../src/log/store.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { event, storeContract } from './contract.ts';

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
