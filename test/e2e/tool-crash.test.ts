/** import, backup, export and prune that are killed at every step: nothing is lost, and the next run says what to do. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import type { Database } from '../../src/engines/engine.ts';
import { openEngine } from '../../src/engines/open.ts';
import { createLog } from '../../src/log/log.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { event } from '../engines/contract.ts';
import { eachEngine } from '../engines/each-engine.ts';
import { checkLog } from '../support/check-log.ts';
import { BARE_ENVIRONMENT, MAIN, runCommand } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { callsToKill, type FileCall, runKilled } from '../support/strace.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const EVENTS = 6_000;

async function fill(target: Database): Promise<void> {
  const { store } = await openEngine(target, { runtime: systemRuntime });
  const log = await createLog({ store, runtime: systemRuntime });
  for (let from = 0; from < EVENTS; from += 1_000) {
    await log.append({
      events: Array.from({ length: 1_000 }, (_, at) => event(`feed${at % 7}`, from + at)),
      key: { value: `${from}`, fingerprint: 'f' },
    });
  }
  await log.close();
}

/** The events that a server would serve that starts now, or why it refuses. */
async function serve(target: Database): Promise<number | string> {
  try {
    const { store } = await openEngine(target, { runtime: systemRuntime });
    await store.close();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const checked = await checkLog(target);
  return typeof checked === 'string' ? `a fault: ${checked}` : checked.events;
}

const UNFINISHED =
  /an import into .* did not finish, and nothing of it was kept: run "lastseen import" again/;

describe('a tool that is killed', () => {
  let directory: TemporaryDirectory;
  const file = (...names: string[]): string => join(directory.path, ...names);
  let archive: string;
  before(async () => {
    directory = temporaryDirectory();
    mkdirSync(file('full'));
    await fill({ kind: 'sqlite', path: file('full', 'log.db') });
    const exported = await runCommand(['export'], { DATABASE_URL: `sqlite:${file('full', 'log.db')}` });
    assert.equal(exported.code, 0, exported.stderr);
    archive = exported.stdout;
    writeFileSync(file('archive.ndjson'), archive);
  });
  after(() => {
    directory.remove();
  });

  eachEngine((engine) => {
    it('import: no server starts on the empty log that it leaves, and the next import completes', async () => {
      const database = await engine.createDatabase();
      const child = spawn(process.execPath, [MAIN, 'import'], {
        env: { ...BARE_ENVIRONMENT, ...database.settings },
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      const ended = once(child, 'close');
      child.stdin.on('error', () => undefined);
      child.stdin.write(archive.slice(0, archive.length / 2));
      const hasBegun = async (): Promise<boolean> => {
        try {
          return (await database.rows('select * from pending_import')).length > 0;
        } catch {
          // The table is not made yet.
          return false;
        }
      };
      await until(hasBegun, 'the begin of the import');
      child.kill('SIGKILL');
      await ended;
      assert.match(String(await serve(database.target)), UNFINISHED);
      const refused = await runCommand(['serve'], { ...database.settings, PORT: '0' });
      assert.equal(refused.code, 1);
      assert.match(refused.stderr + refused.stdout, UNFINISHED);
      const again = await runCommand(['import'], database.settings, archive);
      assert.equal(again.code, 0, again.stderr);
      assert.equal(await serve(database.target), EVENTS);
    });

    it('import: a refused archive leaves a database that serves', async () => {
      const database = await engine.createDatabase();
      const refused = await runCommand(['import'], database.settings, archive.slice(0, archive.length / 2));
      assert.equal(refused.code, 2, refused.stderr);
      assert.equal(await serve(database.target), 0);
    });

    it('prune: the log has no fault at any moment, and the next prune completes', async () => {
      const database = await engine.createDatabase();
      await fill(database.target);
      const rule = ['prune', '--retention', '5/access_id'];
      for (let killed = 0; killed < 3; killed += 1) {
        const child = spawn(process.execPath, [MAIN, ...rule], {
          env: { ...BARE_ENVIRONMENT, ...database.settings },
          stdio: 'ignore',
        });
        const ended = once(child, 'close');
        const countOf = async (): Promise<number> =>
          Number(
            ((await database.rows('select count(*) as count from events')) as { count: unknown }[])[0]?.count,
          );
        const before = await countOf();
        await until(async () => (await countOf()) < before || child.exitCode !== null, 'a deletion');
        child.kill('SIGKILL');
        await ended;
        const checked = await checkLog(database.target);
        assert.ok(typeof checked !== 'string', JSON.stringify(checked));
      }
      const done = await runCommand(rule, database.settings);
      assert.equal(done.code, 0, done.stderr);
      assert.equal(await serve(database.target), 7 * 5);
    });
  });

  describe('between two system calls', { skip: missing('strace') }, () => {
    /** Kills the command at calls of each kind, so far apart, until it ends by itself. */
    async function killAtSteps(
      distances: Partial<Record<FileCall, number>>,
      run: (where: string, kill: { call: FileCall; nth: number }) => Promise<boolean>,
    ): Promise<void> {
      for (const [call, distance] of Object.entries(distances) as [FileCall, number][]) {
        for (const nth of callsToKill(distance)) {
          if (!(await run(`${call}-${nth}`, { call, nth }))) {
            break;
          }
        }
      }
    }

    it('backup: the file is not there or whole, and the next backup completes', async () => {
      const source = { kind: 'sqlite', path: file('full', 'log.db') } as const;
      const settings = { DATABASE_URL: `sqlite:${source.path}` };
      await killAtSteps({ rename: 1, fsync: 4, pwrite64: 200 }, async (where, kill) => {
        const path = file(`${where}.db`);
        const { wasKilled } = await runKilled(['backup', path], settings, kill);
        if (!existsSync(path)) {
          assert.ok(wasKilled, where);
          const hasLeft = existsSync(`${path}-partial`);
          const again = await runCommand(['backup', path], settings);
          assert.equal(again.code, 0, again.stderr);
          assert.equal(again.stderr.includes('which an interrupted backup had left'), hasLeft, where);
        }
        assert.equal(await serve({ kind: 'sqlite', path }), EVENTS, where);
        assert.deepEqual(
          readdirSync(directory.path).filter((name) => name.startsWith(`${where}.db-partial`)),
          [],
        );
        return wasKilled;
      });
    });

    it('export: the file is not there or whole, and the next export says what is left', async () => {
      const settings = { DATABASE_URL: `sqlite:${file('full', 'log.db')}` };
      await killAtSteps({ rename: 1, fsync: 1 }, async (where, kill) => {
        const path = file(`${where}.ndjson`);
        const { wasKilled } = await runKilled(['export', path], settings, kill);
        const left = readdirSync(directory.path).filter((name) =>
          name.startsWith(`${where}.ndjson-partial-`),
        );
        if (!existsSync(path)) {
          assert.ok(wasKilled, where);
          const again = await runCommand(['export', path], settings);
          assert.equal(again.code, 0, again.stderr);
          for (const name of left) {
            assert.ok(again.stderr.includes(`${file(name)} is what an interrupted export has left`), where);
          }
        }
        assert.equal(readFileSync(path, 'utf8'), archive, where);
        return wasKilled;
      });
    });

    it('import into SQLite: all of the archive or nothing of it, and no empty log is served', async () => {
      await killAtSteps({ fsync: 16, pwrite64: 400, unlink: 6 }, async (where, kill) => {
        mkdirSync(file(where));
        const path = file(where, 'log.db');
        const settings = { DATABASE_URL: `sqlite:${path}` };
        const { wasKilled } = await runKilled(['import', file('archive.ndjson')], settings, kill);
        const hasTables = existsSync(path) && countTables(path) > 0;
        const served = await serve({ kind: 'sqlite', path });
        if (hasTables) {
          assert.ok(served === EVENTS || UNFINISHED.test(String(served)), `${where}: ${served}`);
        }
        if (served !== EVENTS) {
          const again = await runCommand(['import', file('archive.ndjson')], settings);
          assert.equal(again.code, 0, again.stderr);
          assert.equal(await serve({ kind: 'sqlite', path }), EVENTS, where);
        }
        rmSync(file(where), { recursive: true });
        return wasKilled;
      });
    });

    it('prune on SQLite: the log has no fault, and the next prune completes', async () => {
      await killAtSteps({ fsync: 20 }, async (where, kill) => {
        cpSync(file('full'), file(where), { recursive: true });
        const target = { kind: 'sqlite', path: file(where, 'log.db') } as const;
        const settings = { DATABASE_URL: `sqlite:${target.path}` };
        const rule = ['prune', '--retention', '5/access_id'];
        const { wasKilled } = await runKilled(rule, settings, kill);
        const checked = await checkLog(target);
        assert.ok(typeof checked !== 'string', `${where}: ${JSON.stringify(checked)}`);
        const again = await runCommand(rule, settings);
        assert.equal(again.code, 0, again.stderr);
        assert.equal(await serve(target), 7 * 5, where);
        rmSync(file(where), { recursive: true });
        return wasKilled;
      });
    });
  });
});

function countTables(path: string): number {
  const db = new Sqlite(path);
  try {
    return (
      db.prepare<[], number>(`select count(*) from sqlite_master where type = 'table'`).pluck().get() ?? 0
    );
  } finally {
    db.close();
  }
}
