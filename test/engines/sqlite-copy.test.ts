/** The copy of an SQLite log that `lastseen backup` makes beside a running server. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import Database from 'better-sqlite3';
import { copyLog } from '../../src/engines/sqlite/copy.ts';
import { openSqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { openReadonly } from '../../src/engines/sqlite/file.ts';
import { createLog } from '../../src/log/log.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { event, PAYLOADS, readAll } from './contract.ts';

describe('the copy of a log', () => {
  const directory = temporaryDirectory();
  const file = (name: string): string => join(directory.path, name);
  after(() => {
    directory.remove();
  });

  it('holds every event, id, key, token and index, and the schema', async () => {
    const { store } = await openSqliteEngine({ path: file('whole.db'), runtime: systemRuntime });
    const log = await createLog({ store, runtime: systemRuntime });
    await log.append({
      events: PAYLOADS.map((payload, index) => event('a', 0, { payload, id: `id ${index}` })),
      key: { value: 'key', fingerprint: 'f' },
    });
    for (let round = 0; round < 20; round += 1) {
      const events = Array.from({ length: 1_000 }, (_, index) => event(`feed ${index % 9}`, index));
      await log.append({ events, key: null });
    }
    await log.prune({ keepPerAccessId: 1_000 });
    copyInto('whole.db', 'whole-copy.db');
    await log.close();
    assert.deepEqual(contentOf(file('whole-copy.db')), contentOf(file('whole.db')));
  });

  it('G2, G3: is consistent while pushes and retention go on, and keeps no read transaction for its time', async () => {
    const { store } = await openSqliteEngine({ path: file('busy.db'), runtime: systemRuntime });
    const log = await createLog({ store, runtime: systemRuntime });
    const push = async (): Promise<void> => {
      const events = Array.from({ length: 1_000 }, (_, index) => event(`feed ${index % 9}`, index));
      await log.append({ events, key: null });
    };
    for (let round = 0; round < 20; round += 1) {
      await push();
    }
    // The log changes between two pages of the copy: the copy sees it, as it would not in one transaction.
    const source = openReadonly(file('busy.db'));
    const writer = new Database(file('busy.db'));
    let isInTransaction = 0;
    const changing = withEachRead(source, (count) => {
      isInTransaction += source.inTransaction ? 1 : 0;
      if (count !== 2) {
        return;
      }
      writer.exec(
        `insert into feeds (access_id, version, position, pruned_version, pruned_position)
           values ('feed 0', 1, 1, 1, 1);
         delete from events where position = 1;
         update log set floor = 2;
         insert into events (position, access_id, version, created_at, recorded_at, payload)
           values (20001, 'late', 1, 0, 0, '"late"')`,
      );
    });
    copyLog(changing, file('busy-copy.db'));
    source.close();
    writer.close();
    await log.close();
    assert.ok(isInTransaction <= 2, 'only the last page is read in the transaction');
    assert.deepEqual(contentOf(file('busy-copy.db')), contentOf(file('busy.db')));
    const copy = await openSqliteEngine({ path: file('busy-copy.db'), runtime: systemRuntime });
    const copied = await createLog({ store: copy.store, runtime: systemRuntime });
    assert.equal((await copied.bounds()).head, 20_001);
    assert.equal((await readAll(copied, 'late')).length, 1);
    await copied.close();
  });

  function copyInto(from: string, to: string): void {
    const source = openReadonly(file(from));
    copyLog(source, file(to));
    source.close();
  }
});

/** The same connection, that calls `onRead` before each page of events. */
function withEachRead(db: Database.Database, onRead: (count: number) => void): Database.Database {
  let count = 0;
  return new Proxy(db, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property !== 'prepare') {
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      }
      return (sql: string) => {
        const statement = target.prepare(sql);
        if (!sql.startsWith('select * from events')) {
          return statement;
        }
        const all = statement.all.bind(statement);
        statement.all = (...values) => {
          onRead((count += 1));
          return all(...values);
        };
        return statement;
      };
    },
  });
}

/** Every table with its rows, and the schema. */
function contentOf(path: string): Record<string, unknown> {
  const db = new Database(path, { readonly: true });
  const schema = db
    .prepare<[], { type: string; name: string; sql: string | null }>(
      `select type, name, sql from sqlite_master where name not like 'sqlite_stat%' order by type, name`,
    )
    .all();
  const tables = schema.filter(({ type }) => type === 'table');
  const rows = tables.map(({ name }) => {
    const texts = db
      .prepare<[], unknown[]>(`select * from "${name}"`)
      .raw()
      .all()
      .map((row) => JSON.stringify(row));
    return [name, texts.sort()];
  });
  assert.deepEqual(db.pragma('integrity_check', { simple: true }), 'ok');
  db.close();
  return { schema, ...(Object.fromEntries(rows) as Record<string, unknown>) };
}
