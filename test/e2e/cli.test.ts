/** The command line as people use it: exit codes, repeats, state, settings, secrets. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { migrations } from '../../migrations/index.ts';
import { readConfig } from '../../src/config.ts';
import { LastseenError } from '../../src/errors.ts';
import { runCommand, startProcess } from '../support/process.ts';
import { type Service, startService } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

describe('the command line', () => {
  let service: Service;
  let directory: TemporaryDirectory;
  let environment: Record<string, string>;
  before(async () => {
    service = await startService();
    directory = temporaryDirectory();
    environment = { LASTSEEN_URL: service.url };
  });
  after(async () => {
    await service.stop();
    directory.remove();
  });

  const line = (at: number): string => JSON.stringify({ accessid: 'cli', created_at: at, payload: at });

  it('push takes NDJSON, an array, a file or standard input, and repeating it appends nothing', async () => {
    const file = join(directory.path, 'events.ndjson');
    writeFileSync(file, `${[1, 2, 2].map(line).join('\n')}\n\n`);
    assert.equal(
      (await runCommand(['push', file, '--batch', '2'], environment)).stdout,
      '3 events pushed, 3 new\n',
    );
    assert.equal((await runCommand(['push', file], environment)).stdout, '3 events pushed, 0 new\n');
    writeFileSync(file, `${[1, 2, 2, 3].map(line).join('\n')}\n`);
    assert.equal((await runCommand(['push', file], environment)).stdout, '4 events pushed, 1 new\n');
    const array = `[\n${[7, 8].map(line).join(' ,\n')}\n]\n`;
    assert.equal((await runCommand(['push'], environment, array)).stdout, '2 events pushed, 2 new\n');
    assert.deepEqual(
      (await service.page('cli')).events.map((event) => event.payload),
      [1, 2, 2, 3, 7, 8],
    );
  });

  it('push names the line that is not JSON, and the event that the server refused', async () => {
    const bad = await runCommand(['push'], environment, `${line(1)}\n{oops\n`);
    assert.deepEqual([bad.code, bad.stderr.includes('line 2 is not JSON')], [1, true]);
    const refused = await runCommand(['push'], environment, '{"accessid":"","created_at":1,"payload":1}');
    assert.deepEqual(
      [refused.code, /event 1 failed: 400 .*\/access_id: must not be empty/.test(refused.stderr)],
      [1, true],
    );
    const unauthorised = await runCommand(['push'], { ...environment, LASTSEEN_TOKEN: 'wrong' }, line(1));
    assert.deepEqual([unauthorised.code, unauthorised.stderr.includes('401')], [1, true]);
  });

  it('G3: tail stores its cursor in a file, and resumes from it', async () => {
    const state = join(directory.path, 'tail.cursor');
    await service.push(...[1, 2, 3].map((payload) => ({ accessid: 'tailed', created_at: 1, payload })));
    const tail = async (...more: string[]): Promise<number[]> => {
      const outcome = await runCommand(
        ['tail', 'tailed', '--no-follow', '--state', state, ...more],
        environment,
      );
      assert.equal(outcome.code, 0, outcome.stderr);
      return outcome.stdout
        .split('\n')
        .filter(Boolean)
        .map((text) => (JSON.parse(text) as { payload: number }).payload);
    };
    assert.deepEqual(await tail(), [1, 2, 3]);
    assert.deepEqual(await tail(), []);
    await service.push({ accessid: 'tailed', created_at: 1, payload: 4 });
    assert.deepEqual(await tail(), [4]);
    assert.deepEqual(await tail('--after', 'start'), [1, 2, 3, 4]);
    const refused = await runCommand(['tail', 'tailed', '--after', 'nonsense'], environment);
    assert.deepEqual([refused.code, refused.stderr.includes('ERR_CURSOR_MALFORMED')], [1, true]);
    const stranger = await runCommand(['tail', 'tailed'], { ...environment, LASTSEEN_TOKEN: 'wrong' });
    assert.deepEqual([stranger.code, stranger.stderr.includes('LASTSEEN_TOKEN')], [1, true]);
  });

  it('help exits 0, wrong use exits 2', async () => {
    for (const command of ['serve', 'migrate', 'push', 'tail', 'seed', 'query', 'analyst']) {
      const help = await runCommand([command, '--help']);
      assert.deepEqual([help.code, help.stdout.startsWith(`Usage: lastseen ${command}`)], [0, true]);
    }
    for (const args of [
      ['dance'],
      ['tail'],
      ['push', '--batch', '0'],
      ['serve', '--nope'],
      ['push', '--url', 'ftp://x'],
    ]) {
      assert.equal((await runCommand(args)).code, 2, args.join(' '));
    }
  });

  it('migrate and seed change nothing the second time', async () => {
    const database = { DATABASE_URL: `sqlite:${join(directory.path, 'seeded.db')}` };
    const all = migrations.map(({ name }) => name).join(', ');
    assert.equal((await runCommand(['migrate'], database)).stdout, `migrated: ${all}\n`);
    assert.equal((await runCommand(['migrate'], database)).stdout, 'nothing to migrate\n');
    assert.equal((await runCommand(['seed'], database)).stdout, '10 of 10 events were new\n');
    assert.equal((await runCommand(['seed'], database)).stdout, '0 of 10 events were new\n');
    const off = {
      LASTSEEN_MIGRATE: 'off',
      PORT: '0',
      DATABASE_URL: `sqlite:${join(directory.path, 'bare.db')}`,
      LASTSEEN_LOG: 'warn',
    };
    const refused = await runCommand(['serve'], off);
    assert.deepEqual([refused.code, refused.stderr.includes('lastseen migrate')], [1, true]);
  });

  it('G12: the admin token is made once, printed once, and stored only as a hash', async () => {
    const path = join(directory.path, 'fresh', 'log.db');
    const settings = { LASTSEEN_ADMIN_TOKEN: '', LASTSEEN_LOG: 'trace' };
    const first = await startProcess(path, settings);
    const token = /LASTSEEN_TOKEN=(\S+)/.exec(first.output())?.[1] ?? '';
    assert.equal(token.length, 43);
    assert.equal(first.output().split(token).length, 2, 'shown once');
    const response = await fetch(`${first.url}/clients`, { headers: { Authorization: `Bearer ${token}` } });
    assert.equal(response.status, 200);
    await first.end('SIGKILL');
    for (const name of readdirSync(join(directory.path, 'fresh'))) {
      assert.ok(!readFileSync(join(directory.path, 'fresh', name)).includes(token), name);
    }
    const second = await startProcess(path, settings);
    assert.doesNotMatch(second.output(), /LASTSEEN_TOKEN=/);
    assert.equal(
      (await fetch(`${second.url}/clients`, { headers: { Authorization: `Bearer ${token}` } })).status,
      200,
    );
    await second.end('SIGTERM');
    const third = await startProcess(path, {
      LASTSEEN_LOG: 'trace',
      LASTSEEN_ADMIN_TOKEN: 'hunter2-hunter2',
    });
    await fetch(`${third.url}/clients`, { headers: { Authorization: 'Bearer hunter2-hunter2' } });
    await third.end('SIGTERM');
    assert.doesNotMatch(third.output(), /hunter2/);
  });
});

describe('settings', () => {
  it('a wrong one is named in one line, without its value when it is a secret', () => {
    for (const [name, value] of [
      ['PORT', 'x'],
      ['PORT', '70000'],
      ['DATABASE_URL', 'mysql://user:secret@host'],
      ['LASTSEEN_AUTH', 'maybe'],
      ['LASTSEEN_ADMIN_TOKEN', 'secret with space'],
      ['LASTSEEN_ORIGINS', '^('],
      ['LASTSEEN_LOG', 'loud'],
      ['LASTSEEN_MAX_CONNECTIONS', '0'],
    ] as const) {
      assert.throws(
        () => readConfig({ [name]: value }),
        (error) =>
          error instanceof LastseenError &&
          error.message.startsWith(`${name}: `) &&
          !error.message.includes('\n') &&
          !error.message.includes('secret'),
        `${name}=${value}`,
      );
    }
    assert.throws(() => readConfig({ LASTSEEN_AUTH: 'open', HOST: '0.0.0.0' }), /LASTSEEN_AUTH/);
    assert.equal(readConfig({ LASTSEEN_AUTH: 'open', HOST: 'localhost' }).isAuthOpen, true);
  });

  it('with open authentication only loopback names are served, so that no page reaches in', async () => {
    const open = await startService({ LASTSEEN_AUTH: 'open' });
    assert.equal((await fetch(`${open.url}/clients`)).status, 200);
    const { request } = await import('node:http');
    const status = await new Promise((resolve) => {
      request(`${open.url}/clients`, { headers: { Host: 'rebound.example' } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).end();
    });
    assert.equal(status, 403);
    await open.stop();
  });
});
