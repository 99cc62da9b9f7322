/** A file whose tests pass fails all the same when it leaves something behind, and says what. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { runSql } from './postgres.ts';
import { missing } from './programs.ts';

const file = (name: string): string => join(import.meta.dirname, name);

describe('the check after a test file', { concurrency: true }, () => {
  let peer: Server;
  before(async () => {
    peer = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
    await once(peer, 'listening');
  });
  after(async () => {
    peer.close();
    await once(peer, 'close');
  });

  /** Runs `leaking.ts`, whose one test passes. */
  async function run(leak: string): Promise<{ code: number | null; stderr: string }> {
    const environment: NodeJS.ProcessEnv = {
      ...process.env,
      LEAK: leak,
      PEER: `tcp://127.0.0.1:${(peer.address() as AddressInfo).port}`,
    };
    // It is no child of this run.
    delete environment['NODE_TEST_CONTEXT'];
    const child = spawn(
      process.execPath,
      ['--test-reporter=spec', '--import', file('leaks.ts'), file('leaking.ts')],
      { env: environment, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const [stdout, stderr] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ]);
    assert.match(stdout, /^✔ passes/m, stderr);
    return { code: child.exitCode, stderr };
  }

  /** Returns what the message names. */
  async function leftBy(leak: string, message: RegExp): Promise<string> {
    const { code, stderr } = await run(leak);
    assert.equal(code, 1, stderr);
    return message.exec(stderr)?.[1] ?? assert.fail(stderr);
  }

  it('accepts a file that leaves nothing behind', async () => {
    assert.deepEqual(await run('nothing'), { code: 0, stderr: '' });
  });

  it('names a timer', async () => {
    await leftBy('timer', /^left behind: open handle of kind (Timeout)$/m);
  });

  it('names a listening socket', async () => {
    await leftBy('listening socket', /^left behind: listening socket (127\.0\.0\.1:\d+)$/m);
  });

  it('names a connection', async () => {
    await leftBy('connection', /^left behind: connection to (127\.0\.0\.1:\d+)$/m);
  });

  it('names a thread', async () => {
    await leftBy(
      'thread',
      /^left behind: something that keeps the process running, such as (a worker thread)$/m,
    );
  });

  it('names a child process', async () => {
    const id = await leftBy('child process', /^left behind: child process (\d+) sleep 300$/m);
    process.kill(Number(id));
  });

  it('names a temporary directory', async () => {
    const path = await leftBy('temporary directory', /^left behind: temporary directory (\S+)$/m);
    rmSync(path, { recursive: true });
  });

  it('names a database', { skip: missing('PostgreSQL') }, async () => {
    const url = new URL(await leftBy('database', /^left behind: database (\S+)$/m));
    const name = url.pathname.slice(1);
    url.pathname = '/postgres';
    await runSql(url.href, `drop database ${name}`);
  });
});
