/** `lastseen restore` that is killed at every step: no log is lost, and no empty log is served. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import Database from 'better-sqlite3';
import { openEngine } from '../../src/engines/open.ts';
import { restoreSqlite } from '../../src/engines/sqlite/restore.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { BARE_ENVIRONMENT, runCommand, startProcess, tryPush } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { callsToKill, type FileCall, runKilled } from '../support/strace.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const STEP_PROGRAM = join(import.meta.dirname, '../support/restore-step.ts');
const MIN_STEPS = 4;
const OLD_EVENTS = 60;
const BACKUP_EVENTS = 20;

describe('a restore that is killed', () => {
  let directory: TemporaryDirectory;
  const file = (...names: string[]): string => join(directory.path, ...names);
  const backup = (): string => file('backup.db');

  before(async () => {
    directory = temporaryDirectory();
    const server = await startProcess(file('old', 'log.db'));
    const push = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n += 1) {
        assert.ok(await tryPush(server.url, [{ accessid: 'a', created_at: 0, payload: n }]));
      }
    };
    await push(BACKUP_EVENTS);
    const saved = await runCommand(['backup', backup()], { DATABASE_URL: `sqlite:${file('old', 'log.db')}` });
    assert.equal(saved.code, 0, saved.stderr);
    await push(OLD_EVENTS - BACKUP_EVENTS);
    // After a crash, acknowledged events are in the write-ahead log only.
    await server.end('SIGKILL');
  });
  after(() => {
    directory.remove();
  });

  /** A copy of the old log, with its write-ahead log, in a directory of its own. */
  function copyOld(name: string): string {
    cpSync(file('old'), file(name), { recursive: true });
    return file(name, 'log.db');
  }

  interface Opened {
    readonly events: number;
    readonly notices: readonly string[];
  }

  /** What a server that starts now would serve, or why it refuses. */
  async function open(path: string): Promise<Opened | string> {
    const notices: string[] = [];
    try {
      const { store } = await openEngine(
        { kind: 'sqlite', path },
        { runtime: systemRuntime, onNotice: (notice) => notices.push(notice) },
      );
      await store.close();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    return { events: countEvents(path), notices };
  }

  function countEvents(path: string): number {
    const db = new Database(path, { readonly: true });
    try {
      return db.prepare<[], number>(`select count(*) from events where access_id = 'a'`).pluck().get() ?? 0;
    } finally {
      db.close();
    }
  }

  const keptLogs = (path: string): string[] =>
    readdirSync(join(path, '..'))
      .filter((name) => /^log\.db-before-.*Z(-\d+)?$/.test(name))
      .map((name) => join(path, '..', name));

  /** After a kill: the old log or the restored one, whole; and the next restore completes. */
  async function checkAfterKill(path: string, where: string): Promise<void> {
    const found = await open(path);
    assert.ok(typeof found !== 'string', `${where}: ${JSON.stringify(found)}`);
    const { events, notices } = found;
    assert.ok([OLD_EVENTS, BACKUP_EVENTS].includes(events), `${where}: ${events} events are served`);
    if (events === BACKUP_EVENTS) {
      assert.deepEqual(keptLogs(path).map(countEvents), [OLD_EVENTS], `${where}: the old log is kept whole`);
    } else {
      assert.deepEqual(keptLogs(path), [], where);
      const hasLeftovers = readdirSync(join(path, '..')).some((name) => name.includes('-restor'));
      assert.equal(
        notices.some((notice) => /restore .*did not finish.*lastseen restore/.test(notice)),
        hasLeftovers,
        `${where}: ${notices.join()}`,
      );
    }
    restoreSqlite(path, backup());
    assert.equal(countEvents(path), BACKUP_EVENTS);
    assert.ok(keptLogs(path).map(countEvents).includes(events), `${where}: the log before is kept whole`);
    const left = readdirSync(join(path, '..')).filter(
      (name) => !/^log\.db(-lock|-before-.*Z(-\d+)?)?$/.test(name),
    );
    assert.deepEqual(left, [], `${where}: nothing else is left`);
  }

  /** Runs the steps of a restore in a process that ends before the `nth`. Returns false if it ended after its last step. */
  async function restoreUntil(path: string, nth: number): Promise<boolean> {
    const child = spawn(process.execPath, [STEP_PROGRAM, path, backup(), String(nth)], {
      env: BARE_ENVIRONMENT,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    assert.ok(code === 0 || signal === 'SIGKILL', stderr);
    return signal === 'SIGKILL';
  }

  /** Calls `check` after a kill before each step. The directory of `path` is removed after it. */
  async function atEachStep(
    prepare: (name: string) => string,
    check: (path: string, where: string) => Promise<void>,
  ): Promise<void> {
    for (let nth = 1, wasKilled = true; wasKilled; nth += 1) {
      const path = prepare(`step-${nth}`);
      wasKilled = await restoreUntil(path, nth);
      await check(path, wasKilled ? `killed before step ${nth}` : 'not killed');
      rmSync(join(path, '..'), { recursive: true });
      assert.ok(wasKilled || nth > MIN_STEPS, `only ${nth - 1} steps`);
    }
  }

  it('G1: whatever the step, the old log or the restored log is there, whole', async () => {
    await atEachStep(copyOld, checkAfterKill);
  });

  it('without a log before, the next start refuses to make an empty one, and the next restore completes', async () => {
    const prepare = (name: string): string => {
      mkdirSync(file(name));
      return file(name, 'log.db');
    };
    let refusals = 0;
    await atEachStep(prepare, async (path, where) => {
      const names = readdirSync(join(path, '..'));
      const found = await open(path);
      if (names.includes('log.db')) {
        assert.equal(typeof found === 'string' ? found : found.events, BACKUP_EVENTS, where);
      } else if (names.some((name) => name.includes('-restor'))) {
        refusals += 1;
        assert.ok(typeof found === 'string', where);
        assert.match(found, /did not finish, and there is no log: run "lastseen restore FILE" again/);
        for (const command of ['migrate', 'serve']) {
          const refused = await runCommand([command], { DATABASE_URL: `sqlite:${path}`, PORT: '0' });
          assert.deepEqual(
            [refused.code, refused.stderr.includes('lastseen restore FILE')],
            [1, true],
            where,
          );
        }
      }
      if (!names.includes('log.db') || typeof found === 'string') {
        rmSync(path, { force: true });
        restoreSqlite(path, backup());
        assert.equal(countEvents(path), BACKUP_EVENTS, where);
      }
    });
    assert.ok(refusals >= 2, `only ${refusals} refusals`);
  });

  it('a damaged log is replaced too, and kept as it was', async () => {
    const damage = Buffer.alloc(4_096, 'x');
    const prepare = (name: string): string => {
      const path = copyOld(name);
      writeFileSync(path, damage);
      writeFileSync(`${path}-wal`, damage);
      return path;
    };
    await atEachStep(prepare, async (path, where) => {
      const found = await open(path);
      if (typeof found === 'string') {
        assert.deepEqual(readFileSync(path), damage, where);
        restoreSqlite(path, backup());
      }
      assert.equal(countEvents(path), BACKUP_EVENTS, where);
      const [kept = ''] = keptLogs(path);
      assert.deepEqual(readFileSync(kept), damage, where);
    });
  });

  it('a log that another program has open is not replaced', async () => {
    const path = copyOld('open');
    const tool = new Database(path, { readonly: true });
    tool.prepare('select count(*) from events').get();
    const refused = await runCommand(['restore', backup()], { DATABASE_URL: `sqlite:${path}` });
    assert.deepEqual([refused.code, refused.stderr.includes('is open in another program')], [1, true]);
    tool.close();
    const { events } = (await open(path)) as Opened;
    assert.equal(events, OLD_EVENTS);
  });

  describe('between two system calls', { skip: missing('strace') }, () => {
    const distances = { rename: 2, link: 1, unlink: 4, fsync: 8 } as const satisfies Partial<
      Record<FileCall, number>
    >;
    for (const call of ['rename', 'link', 'unlink', 'fsync'] as const) {
      it(`G1: at any ${call}, the old log or the restored log is there, whole`, async () => {
        for (const nth of callsToKill(distances[call])) {
          const path = copyOld(`${call}-${nth}`);
          const { wasKilled } = await runKilled(
            ['restore', backup()],
            { DATABASE_URL: `sqlite:${path}` },
            { call, nth },
          );
          await checkAfterKill(path, `killed at ${call} ${nth}`);
          rmSync(join(path, '..'), { recursive: true });
          if (!wasKilled) {
            break;
          }
        }
      });
    }
  });
});
