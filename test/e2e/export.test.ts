/** lastseen export as analysts use it: a file, then another one that continues it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { parquetReadObjects } from 'hyparquet';
import { openEngine } from '../../src/engines/open.ts';
import { cursorOf } from '../../src/log/cursor.ts';
import { createLog } from '../../src/log/log.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { event } from '../engines/contract.ts';
import { eachEngine, type EngineDatabase } from '../engines/each-engine.ts';
import { parseCsv } from '../support/csv.ts';
import { BARE_ENVIRONMENT, MAIN, type Outcome, runCommand } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

/** More than one step and one page of everything. */
const EVENTS = 70_000;
const BATCH = 10_000;

const EVERY = Array.from({ length: EVENTS }, (_, at) => at + 1);

function positionsOf(ndjson: string): number[] {
  const lines = ndjson.split('\n');
  assert.equal(lines.pop(), '');
  return lines.map((line) => (JSON.parse(line) as { position: number }).position);
}

/** The cursor with which the command says to continue. */
function cursorIn(stderr: string): string {
  return /^continue with --after (\S+)\n$/m.exec(stderr)?.[1] ?? assert.fail(stderr);
}

describe('lastseen export of a range', () => {
  eachEngine((engine) => {
    let directory: TemporaryDirectory;
    const file = (name: string): string => join(directory.path, name);
    let database: EngineDatabase;
    let middle: string;

    before(async () => {
      directory = temporaryDirectory();
      database = await engine.createDatabase();
      const log = await createLog({
        store: (await openEngine(database.target, { runtime: systemRuntime })).store,
        runtime: systemRuntime,
      });
      for (let from = 0; from < EVENTS; from += BATCH) {
        const receipts = await log.append({
          events: Array.from({ length: BATCH }, (_, at) =>
            event((from + at) % 5 === 0 ? 'fifth' : `é${at % 50}`, {
              n: from + at,
              text: '"1", 日本',
            }),
          ),
          key: null,
        });
        const place = receipts.find(({ position }) => position === 41_234);
        if (place !== undefined) {
          middle = cursorOf(place);
        }
      }
      await log.close();
    });
    after(() => {
      directory.remove();
    });

    const run = (...args: string[]): Promise<Outcome> => runCommand(['export', ...args], database.settings);

    /** The cursor at its end, when it has succeeded. */
    async function exported(...args: string[]): Promise<string> {
      const { code, stderr } = await run(...args);
      assert.equal(code, 0, stderr);
      return cursorIn(stderr);
    }

    const text = (name: string): string => readFileSync(file(name), 'utf8');

    /** The positions that a file tells of, and the text that tells of them. */
    const READERS: Readonly<Record<string, (name: string) => Promise<[number[], string]>>> = {
      ndjson: (name) => Promise.resolve([positionsOf(text(name)), text(name)]),
      csv(name) {
        const [head = [], ...rows] = parseCsv(text(name));
        const body = text(name).slice(head.map((field) => field.text).join(',').length + 2);
        return Promise.resolve([rows.map(([position]) => Number(position?.text)), body]);
      },
      async parquet(name) {
        const rows = await parquetReadObjects({ file: new Uint8Array(readFileSync(file(name))).buffer });
        return [
          rows.map((row) => Number(row['position'])),
          rows.map((row) => `${Object.values(row).map(String).join()}\n`).join(''),
        ];
      },
    };

    for (const [format, read] of Object.entries(READERS)) {
      it(`G2, G3: ${format}: every event once, in order; two that follow on one another are the same as one`, async () => {
        const [end, stop] = await Promise.all([
          exported('--format', format, file(`whole.${format}`)),
          exported('--format', format, '--until', middle, file(`one.${format}`)),
        ]);
        assert.equal(stop, middle);
        const ends = await Promise.all([
          exported('--format', format, '--after', stop, file(`two.${format}`)),
          exported('--format', format, '--after', end, file(`none.${format}`)),
        ]);
        assert.deepEqual(ends, [end, end]);
        const [positions, whole] = await read(`whole.${format}`);
        assert.deepEqual(positions, EVERY);
        const [, one] = await read(`one.${format}`);
        const [, two] = await read(`two.${format}`);
        assert.ok(one + two === whole, 'the parts are the whole');
        assert.deepEqual(await read(`none.${format}`), [[], '']);
        assert.ok(readdirSync(directory.path).every((name) => !name.includes('partial')));
      });
    }

    it('some access_ids only, to standard output', async () => {
      const { code, stdout, stderr } = await run(
        '--format',
        'ndjson',
        '--access-id',
        'fifth',
        '--access-id',
        'none',
        '-',
      );
      assert.equal(code, 0, stderr);
      assert.match(stderr, /^14000 events exported\n/);
      const found = stdout.split('\n').slice(0, -1);
      assert.deepEqual(
        found.map((line) => (JSON.parse(line) as { version: number }).version),
        Array.from({ length: EVENTS / 5 }, (_, at) => at + 1),
      );
    });

    it('Ctrl-C completes the output and prints the cursor to continue from: no event is missing or repeated', async () => {
      const child = start(['--format', 'ndjson']);
      const told = buffer(child.stderr ?? assert.fail());
      const stdout = child.stdout ?? assert.fail();
      // The rest cannot come before it is read.
      await once(stdout, 'readable');
      child.kill('SIGINT');
      const first = (await buffer(stdout)).toString('utf8');
      if (child.exitCode === null) {
        await once(child, 'exit');
      }
      const stderr = (await told).toString('utf8');
      assert.equal(child.exitCode, 130, stderr);
      assert.match(stderr, /^interrupted: \d+ events exported\n/);
      await exported('--format', 'ndjson', '--after', cursorIn(stderr), file('rest.ndjson'));
      assert.deepEqual(positionsOf(first + text('rest.ndjson')), EVERY);
    });

    it('a reader that stops reading gets no cursor', async () => {
      const child = start(['--format', 'csv']);
      const told = buffer(child.stderr ?? assert.fail());
      const stdout = child.stdout ?? assert.fail();
      await once(stdout, 'readable');
      stdout.destroy();
      assert.equal((await told).toString('utf8'), '');
      if (child.exitCode === null) {
        await once(child, 'exit');
      }
      assert.equal(child.exitCode, 0);
    });

    it('G6: a refused cursor ends the export with the code and the floor, and leaves no file', async () => {
      const { code, stderr } = await run('--format', 'csv', '--after', '00000000.1', file('refused.csv'));
      assert.equal(code, 1);
      assert.match(stderr, /^lastseen: --after: ERR_CURSOR_EPOCH: .* \(floor: \w{8}\.0\)\n$/);
      assert.ok(readdirSync(directory.path).every((name) => !name.startsWith('refused')));
    });

    function start(args: readonly string[]): ChildProcess {
      return spawn(process.execPath, [MAIN, 'export', ...args], {
        env: { ...BARE_ENVIRONMENT, ...database.settings },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    }
  });
});

describe('the file of an export', () => {
  let directory: TemporaryDirectory;
  let environment: { DATABASE_URL: string };
  const file = (name: string): string => join(directory.path, name);
  const run = (...args: string[]): Promise<Outcome> => runCommand(['export', ...args], environment);

  before(async () => {
    directory = temporaryDirectory();
    environment = { DATABASE_URL: `sqlite:${file('log.db')}` };
    const { store } = await openEngine({ kind: 'sqlite', path: file('log.db') }, { runtime: systemRuntime });
    const log = await createLog({ store, runtime: systemRuntime });
    const events = Array.from({ length: 1_000 }, () => event('a', 'x'.repeat(200)));
    await log.append({ events, key: null });
    await log.close();
  });
  after(() => {
    directory.remove();
  });

  it('is not replaced without --force, in any format; a device or directory never is', async () => {
    for (const format of ['archive', 'parquet']) {
      writeFileSync(file('taken'), 'mine');
      const refused = await run('--format', format, file('taken'));
      assert.deepEqual([refused.code, refused.stderr.includes('already exists')], [2, true]);
      assert.equal(readFileSync(file('taken'), 'utf8'), 'mine');
      const forced = await run('--format', format, file('taken'), '--force');
      assert.equal(forced.code, 0, forced.stderr);
      assert.notEqual(readFileSync(file('taken'), 'utf8'), 'mine');
    }
    mkdirSync(file('directory'));
    for (const name of ['/dev/null', file('directory')]) {
      const refused = await run('--format', 'csv', name, '--force');
      assert.deepEqual([refused.code, refused.stderr.includes('not a regular file')], [2, true]);
    }
  });

  it('is an archive by default, and only an archive is imported', async () => {
    await run(file('a.archive'));
    const imported = await runCommand(['import', file('a.archive')], {
      DATABASE_URL: `sqlite:${file('b.db')}`,
    });
    assert.equal(imported.code, 0, imported.stderr);
    await run('--format', 'ndjson', file('a.ndjson'));
    const refused = await runCommand(['import', file('a.ndjson')], {
      DATABASE_URL: `sqlite:${file('c.db')}`,
    });
    assert.deepEqual(
      [refused.code, refused.stderr.includes('line 1 is not a line of an archive')],
      [2, true],
      refused.stderr,
    );
  });

  it('wrong use is refused, and the option named', async () => {
    for (const [args, complaint] of [
      [['--format', 'xml'], /--format/],
      [['--access-id', 'a'], /^lastseen: --access-id: an archive always contains the whole log/],
      [['--until', 'x'], /^lastseen: --until: an archive always contains the whole log/],
      [['--format', 'csv', '--since', 'soon'], /^lastseen: --since: must be a day .* got "soon"/],
      [['--format', 'csv', '--since', '2026-01-01', '--after', 'start'], /--after.*--since/],
      [['--format', 'csv', '--before', '2026-01-01', '--until', 'x'], /--until.*--before/],
    ] as const) {
      const refused = await run(...args, file('wrong'));
      assert.equal(refused.code, 2, refused.stderr);
      assert.match(refused.stderr, complaint);
    }
    assert.equal(existsSync(file('wrong')), false);
  });

  it('a full standard output is a failure, and no cursor is printed', async () => {
    const full = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, [MAIN, 'export', '--format', 'csv'], {
      env: { ...BARE_ENVIRONMENT, ...environment },
      stdio: ['ignore', full, 'pipe'],
    });
    const stderr = (await buffer(child.stderr ?? assert.fail())).toString('utf8');
    closeSync(full);
    if (child.exitCode === null) {
      await once(child, 'exit');
    }
    assert.equal(child.exitCode, 1);
    assert.match(stderr, /^lastseen: .*ENOSPC.*\n$/);
  });

  it(
    'a full disk is a failure: no cursor is printed, and no file stays on it',
    { skip: missing('private mounts') },
    () => {
      mkdirSync(file('disk'));
      const script = `mount -t tmpfs -o size=4k tmpfs ${file('disk')} && "$@"; code=$?; ls -A ${file('disk')}; exit $code`;
      const command = [process.execPath, MAIN, 'export', '--format', 'ndjson', file('disk/a.ndjson')];
      const ended = spawnSync(
        'unshare',
        ['--mount', '--map-root-user', 'sh', '-c', script, 'sh', ...command],
        {
          env: { ...BARE_ENVIRONMENT, ...environment },
          encoding: 'utf8',
        },
      );
      assert.deepEqual([ended.status, ended.stdout], [1, ''], ended.stderr);
      assert.match(ended.stderr, /^lastseen: \S+a\.ndjson: ENOSPC.*: no file was written\n$/);
    },
  );
});
