/** A database of the release before: it opens without a rewrite, and cursors of that release hold. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import Database from 'better-sqlite3';
import knexFactory from 'knex';
import { migrations } from '../../migrations/index.ts';
import { readConfig } from '../../src/config.ts';
import { migrationSource } from '../../src/engines/knex/migrate.ts';
import { knexConfigOf } from '../../src/engines/open.ts';
import { createDatabase, runSql } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { type Problem, type Service, startService } from '../support/service.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const BEFORE = migrations.slice(
  0,
  migrations.findIndex(({ name }) => name === '0007_lineage'),
);

async function migrateToRelease(databaseUrl: string): Promise<void> {
  const knex = knexFactory(knexConfigOf(readConfig({ DATABASE_URL: databaseUrl }).database));
  await knex.migrate.latest({
    migrationSource: {
      ...migrationSource,
      getMigrations: () =>
        Promise.resolve(BEFORE.map((migration) => ({ ...migration, file: migration.name }))),
    },
  });
  await knex.destroy();
}

/** Cursors of the release before hold for what was in the log, and for nothing later. */
async function checkCursors(service: Service, epoch: string): Promise<void> {
  const page = await service.page('a', `&after=${epoch}.1`);
  assert.deepEqual(
    page.events.map(({ version }) => version),
    [2, 3],
  );
  // The cursor that is handed out now proves the same place.
  assert.equal(page.events[1]?.cursor, `${epoch}.3.2.0.0`);
  assert.deepEqual((await service.page('a', `&after=${page.cursor}`)).events, []);
  await service.push({ accessid: 'a', created_at: 1, payload: 'new' });
  assert.deepEqual(
    (await service.page('a', `&after=${page.cursor}`)).events.map(({ version }) => version),
    [4],
  );
  for (const [after, code] of [
    [`${epoch}.4`, 'ERR_CURSOR_DIVERGED'],
    [`${epoch}.5`, 'ERR_CURSOR_AHEAD'],
    [`${epoch}.4.2.0.0`, 'ERR_CURSOR_DIVERGED'],
    [`${epoch}.3.2.0.1`, 'ERR_CURSOR_DIVERGED'],
  ] as const) {
    const response = await service.fetch(`/events?access_id=a&after=${after}`);
    const problem = (await response.json()) as Problem;
    assert.deepEqual([after, response.status, problem.code], [after, 409, code]);
  }
}

describe('a database of the release before', () => {
  it('G13: opens on SQLite, and cursors of that release hold', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    await migrateToRelease(`sqlite:${path}`);
    const db = new Database(path);
    for (const position of [1, 2, 3]) {
      db.prepare(`insert into events values (?, 'a', ?, 0, 0, null, '1')`).run(position, position);
    }
    const epoch = db.prepare<[], string>('select epoch from log').pluck().get() ?? '';
    db.close();
    const service = await startService({}, path);
    await checkCursors(service, epoch);
    await service.stop();
    directory.remove();
  });

  it(
    'G13: waits on PostgreSQL until the nodes of that release have stopped, and their cursors hold',
    { skip: missing('PostgreSQL') },
    async () => {
      const database = await createDatabase();
      await migrateToRelease(database.url);
      const append = (group: number): Promise<unknown> =>
        runSql(
          database.url,
          `select * from lastseen_append(1, 'old', ${group}, false, 0, -1, array['a'], array[null]::bigint[],
             array[1], array[1], array['a'], array[1]::bigint[], array[null]::text[], array['1']::json[])`,
        );
      await append(1);
      await append(2);
      await append(3);
      const { rows } = await runSql(database.url, 'select epoch from log');
      const { epoch } = rows[0] as { epoch: string };
      await runSql(
        database.url,
        `insert into nodes (node_id, seen_at) values ('old', now() + interval '1 hour')`,
      );
      let isOpen = false;
      const opening = startService({ DATABASE_URL: database.url }).then((service) => {
        isOpen = true;
        return service;
      });
      await until(
        async () =>
          (await runSql(database.url, `select from pg_stat_activity where query like '%from nodes where%'`))
            .rows.length > 0,
        'the new node to look for old ones',
      );
      await append(4);
      assert.equal(isOpen, false);
      await runSql(database.url, 'delete from nodes');
      const service = await opening;
      assert.equal((await service.page('a', `&after=${epoch}.3`)).events.length, 1);
      await assert.rejects(append(5), /does not exist/);
      await assert.rejects(
        runSql(
          database.url,
          `insert into events (position, access_id, version, created_at, recorded_at, payload)
           values (5, 'a', 5, 0, 0, '1')`,
        ),
        /older than the database/,
      );
      await runSql(database.url, 'select 1');
      const page = await service.page('a', `&after=${epoch}.4`);
      assert.deepEqual(page.events, []);
      await service.push({ accessid: 'a', created_at: 1, payload: 'new' });
      assert.deepEqual(
        (await service.page('a', `&after=${page.cursor}`)).events.map(({ version }) => version),
        [5],
      );
      const refused = await service.fetch(`/events?access_id=a&after=${epoch}.5`);
      assert.deepEqual(
        [refused.status, ((await refused.json()) as Problem).code],
        [409, 'ERR_CURSOR_DIVERGED'],
      );
      await service.stop();
      await database.drop();
    },
  );
});
