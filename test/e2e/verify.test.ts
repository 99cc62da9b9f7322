/** lastseen verify: a sound log passes whatever happens meanwhile, and each kind of damage is named. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { Database } from '../../src/engines/engine.ts';
import { openCheck, openEngine } from '../../src/engines/open.ts';
import { createLog, type Log } from '../../src/log/log.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { event } from '../engines/contract.ts';
import { eachEngine, type EngineDatabase, type TestEngine } from '../engines/each-engine.ts';
import { checkLog } from '../support/check-log.ts';
import { runSql } from '../support/postgres.ts';
import { type Outcome, runCommand } from '../support/process.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** One sealed segment, and some. */
const EVENTS = 70_000;
const BATCH = 10_000;

async function openLog(target: Database): Promise<Log> {
  const { store } = await openEngine(target, { runtime: systemRuntime });
  return createLog({ store, runtime: systemRuntime });
}

const FEEDS = 50;

async function fill(log: Log, count: number): Promise<void> {
  for (let from = 0; from < count; from += BATCH) {
    const length = Math.min(BATCH, count - from);
    await log.append({
      events: Array.from({ length }, (_, at) => event(`feed${(from + at) % FEEDS}`, { n: from + at })),
      key: { value: `batch${from}`, fingerprint: 'f' },
    });
  }
}

/** Changes tables past all rules. */
async function damage({ target }: EngineDatabase, sql: string): Promise<void> {
  if (target.kind === 'postgres') {
    await runSql(target.url, `begin; set local session_replication_role = replica; ${sql}; commit`);
    return;
  }
  const db = new Sqlite(target.path);
  try {
    const triggers = db.prepare(`select name, sql from sqlite_master where type = 'trigger'`).all() as {
      name: string;
      sql: string;
    }[];
    db.exec(
      [
        'begin',
        ...triggers.map(({ name }) => `drop trigger ${name}`),
        sql,
        ...triggers.map((trigger) => trigger.sql),
        'commit',
      ].join(';\n'),
    );
  } finally {
    db.close();
  }
}

const verify = ({ settings }: EngineDatabase): Promise<Outcome> => runCommand(['verify'], settings);

describe('lastseen verify', () => {
  eachEngine((engine) => {
    describe('on a log with a sealed segment', () => {
      let database: EngineDatabase;
      before(async () => {
        database = await engine.createDatabase();
        const log = await openLog(database.target);
        await fill(log, EVENTS);
        await log.close();
      });

      it('a sound log has no fault, and the digest of its segment is kept and compared', async () => {
        const first = await verify(database);
        assert.deepEqual(
          [first.code, first.stdout, first.stderr],
          [
            0,
            `no fault: ${EVENTS} events from position 1 to ${EVENTS}, digests of segments: 0 compared, 1 new\n`,
            '',
          ],
        );
        const second = await verify(database);
        assert.match(second.stdout, /digests of segments: 1 compared, 0 new\n$/);
      });

      it('pushes and retention may go on meanwhile', async () => {
        const other = await engine.createDatabase();
        const log = await openLog(other.target);
        await fill(log, 20_000);
        let isRunning = true;
        const work = async (): Promise<void> => {
          for (let round = 0; isRunning; round += 1) {
            await fill(log, 500).catch(() => undefined);
            await log.append({
              events: [event(`feed${round % 60}`, round), event('late', round)],
              key: null,
            });
            await log.prune({ keepPerAccessId: 100, through: round * 10 });
          }
        };
        const working = work();
        for (let round = 0; round < 4; round += 1) {
          const { code, stdout, stderr } = await verify(other);
          assert.equal(code, 0, stderr);
          assert.match(stdout, /^no fault: /);
        }
        isRunning = false;
        await working;
        await log.close();
        assert.equal((await verify(other)).code, 0);
      });

      it('the digest survives export and import, and an archive with a changed payload is not imported', async () => {
        const exported = await runCommand(['export'], database.settings);
        const copy = await engine.createDatabase();
        const changed = exported.stdout.replace('{"n":17}', '{"n":18}');
        const refused = await runCommand(['import'], copy.settings, changed);
        assert.equal(refused.code, 2, refused.stderr);
        assert.match(
          refused.stderr,
          /a digest that is not the one of the events from 1 to 65535: one of them was changed/,
        );
        const imported = await runCommand(['import'], copy.settings, exported.stdout);
        assert.equal(imported.code, 0, imported.stderr);
        assert.match((await verify(copy)).stdout, /1 compared, 0 new/);
      });

      it('an event that was changed is found by the digest', async () => {
        await damage(database, `update events set payload = '{"n":0}' where position = 40000`);
        const { code, stdout, stderr } = await verify(database);
        assert.deepEqual([code, stdout], [1, '']);
        assert.match(
          stderr,
          /^lastseen: position 1: the events from here to 65535 are not those of the check at 20/,
        );
      });
    });

    it('retention changes the segments from which it deletes events, and the summary says so', async () => {
      const database = await engine.createDatabase();
      const log = await openLog(database.target);
      await fill(log, EVENTS);
      assert.match((await verify(database)).stdout, /0 compared, 1 new\n$/);
      await log.prune({ through: 10 });
      assert.match((await verify(database)).stdout, /0 compared, 0 new, 1 changed by retention\n$/);
      assert.match((await verify(database)).stdout, /1 compared, 0 new\n$/);
      await log.prune({ through: 66_000 });
      assert.match((await verify(database)).stdout, /0 compared, 0 new, 1 changed by retention\n$/);
      assert.match((await verify(database)).stdout, /0 compared, 0 new\n$/);
      await log.close();
    });

    damageTests(engine);
  });
});

/** Each damage, and what the command says. */
function damageTests(engine: TestEngine): void {
  const cases: readonly [name: string, sql: string, complaint: RegExp][] = [
    [
      'an event that is missing',
      'delete from events where position = 120',
      /position 170: version 3 of "feed44" follows version 1, and retention has deleted those up to 0/,
    ],
    [
      'the last event of a feed that is missing',
      'delete from events where position = 499',
      /position 499: (the log lacks an event here, or at a later position without one: 26 of 500 positions have none, and retention has deleted 25|the index has an event of "feed23" here, and the log has none)/,
    ],
    [
      'a version that is wrong',
      'update events set version = 9 where position = 133',
      /position 133: version 9 of "feed7" follows version 2/,
    ],
    [
      'an event at or below the mark of its feed',
      `insert into feeds (access_id, version, position, pruned_version, pruned_position) values ('feed3', 10, 479, 3, 129)
         on conflict (access_id) do update set pruned_version = 3, pruned_position = 129`,
      /position 29: version 1 of "feed3" is in the log, and retention has deleted it/,
    ],
    [
      'a mark beyond the end of the log',
      `update feeds set pruned_version = 99, pruned_position = 4000, version = 99, position = 4000 where access_id = 'gone'`,
      /position 4000: the mark of retention of "gone" lies beyond the end of the log, which is 500/,
    ],
    [
      'a batch beyond the end of the log',
      'update batches set last_position = 600',
      /position 600: the batch with the key "batch0" has the positions 26 to 600, and the log ends at 500/,
    ],
    [
      'a tag of a term that the log does not have',
      'update events set tag = 4294967296 where position = 300',
      /position 300: has a tag of the term 1, and the term here is \d+/,
    ],
    [
      'an event without a tag',
      'update events set tag = null where position = 300',
      /position 300: has no tag, and events have tags from position 1 on/,
    ],
    [
      'an event of a commit that was recorded at another time',
      'update events set recorded_at = recorded_at + 1 where position = 300',
      /position 300: was recorded at \d+, and the event before it, of the same commit, at \d+/,
    ],
    [
      'an event below the floor',
      'update log set floor = 200',
      /position 26: an event below the floor of the log, which is 200/,
    ],
  ];
  const sqliteCases: typeof cases = [
    [
      'an index that lacks an event',
      `update event_index set offsets = replace(offsets, ',79', ''), last_offset = last_offset where access_id = 'feed3'`,
      /position 79: the index lacks this event of "feed3"/,
    ],
    [
      'an index with an event of another feed',
      `update event_index set offsets = replace(offsets, '79', '80') where access_id = 'feed3'`,
      /position 80: is an event of "feed4", and the index has it as one of "feed3"/,
    ],
    [
      'an index whose latest created_at is too low',
      `update event_index set max_created_at = -1 where access_id = 'feed3'`,
      /position 29: has the created_at 0, and the index says that none here is above -1/,
    ],
    [
      'a table of feeds that is behind the index',
      `update feeds set position = 79, version = 2 where access_id = 'feed3'`,
      /position 479: is an event of "feed3", and the table of feeds says that its last event is at 79/,
    ],
  ];

  describe('names the first position that does not fit', () => {
    for (const [name, sql, complaint] of [...cases, ...(engine.name === 'SQLite' ? sqliteCases : [])]) {
      it(name, async () => {
        const database = await engine.createDatabase();
        const log = await openLog(database.target);
        await log.append({
          events: Array.from({ length: 25 }, (_, n) => event('gone', n)),
          key: null,
        });
        await fill(log, 475);
        await log.prune({ through: 25 });
        await log.close();
        assert.equal(typeof (await checkLog(database.target)), 'object');
        await damage(database, sql);
        const found = await checkLog(database.target);
        assert.ok(typeof found === 'string', JSON.stringify(found));
        assert.match(found, complaint);
        await database.drop();
      });
    }
  });
}

describe('lastseen verify on SQLite', () => {
  const directory = temporaryDirectory();
  after(() => {
    directory.remove();
  });
  const path = join(directory.path, 'log.db');
  const settings = { DATABASE_URL: `sqlite:${path}` };

  it('a backup is checked, and not changed', async () => {
    const log = await openLog({ kind: 'sqlite', path });
    await fill(log, EVENTS);
    const backup = join(directory.path, 'backup.db');
    const saved = await runCommand(['backup', backup], settings);
    assert.equal(saved.code, 0, saved.stderr);
    await log.close();
    const bytes = readFileSync(backup);
    const { code, stdout, stderr } = await runCommand(['verify', backup]);
    assert.deepEqual([code, stdout.includes('0 compared, 1 new')], [0, true], stderr);
    assert.ok(readFileSync(backup).equals(bytes));
    assert.equal((await runCommand(['verify', join(directory.path, 'missing.db')])).code, 2);
  });

  it('a check that waits between two pages does not pin the write-ahead log', async () => {
    const check = await openCheck({ kind: 'sqlite', path }, { isReadOnly: false });
    const first = await check.page(0);
    assert.ok(first.events.length > 0);
    await check.feeds('');
    await check.batches('');
    const writer = new Sqlite(path, { timeout: 0 });
    writer.exec('update log set floor = floor');
    assert.deepEqual(writer.pragma('wal_checkpoint(TRUNCATE)'), [{ busy: 0, log: 0, checkpointed: 0 }]);
    writer.close();
    await check.close();
  });
});
