/** A snapshot of the SQLite files that is put back while the server runs. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import Sqlite from 'better-sqlite3';
import { type ServerProcess, startProcess, tryPush } from '../support/process.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const FILES = ['', '-wal'];

/** A checkpoint by another program, as backup tools run it. */
function checkpoint(path: string, mode: 'RESTART' | 'TRUNCATE'): void {
  const tool = new Sqlite(path);
  const [result] = tool.pragma(`wal_checkpoint(${mode})`) as { busy: number }[];
  assert.equal(result?.busy, 0);
  tool.close();
}

describe('a file that is replaced while the server runs', () => {
  const directory = temporaryDirectory();
  after(() => {
    directory.remove();
  });

  const push = (server: ServerProcess, payload: string): Promise<boolean> =>
    tryPush(server.url, [{ accessid: 'a', created_at: 0, payload }]);

  /** Takes a snapshot of a running server after one push, pushes once more, and puts the snapshot back. */
  async function replace(
    name: string,
  ): Promise<{ server: ServerProcess; path: string; exited: Promise<unknown[]> }> {
    const path = join(directory.path, name);
    const server = await startProcess(path);
    const exited = once(server.child, 'exit');
    assert.ok(await push(server, 'in the snapshot'));
    for (const suffix of FILES) {
      copyFileSync(path + suffix, `${path}-snapshot${suffix}`);
    }
    assert.ok(await push(server, 'after the snapshot'));
    for (const suffix of FILES) {
      renameSync(`${path}-snapshot${suffix}`, path + suffix);
    }
    return { server, path, exited };
  }

  async function assertEnded(server: ServerProcess): Promise<void> {
    await until(() => server.output().includes('"level":60'), 'the last line');
    const fatal = server
      .output()
      .split('\n')
      .filter((line) => line.includes('"level":60'));
    assert.equal(fatal.length, 1);
    assert.match(fatal[0] ?? '', /is another file than the one that was opened/);
  }

  it('an idle server ends by itself with one clear line, and leaves the files of the snapshot as they are', async () => {
    const { server, path, exited } = await replace('idle.db');
    const walBytes = readFileSync(`${path}-wal`);
    assert.deepEqual(await exited, [1, null]);
    await assertEnded(server);
    assert.ok(existsSync(`${path}-wal`) && readFileSync(`${path}-wal`).equals(walBytes));

    const again = await startProcess(path);
    assert.ok(await push(again, 'after the return'));
    const response = await fetch(`${again.url}/events?access_id=a&after=start`, {
      headers: { Authorization: 'Bearer test-admin' },
    });
    const { events } = (await response.json()) as { events: { payload: string }[] };
    assert.deepEqual(
      events.map(({ payload }) => payload),
      ['in the snapshot', 'after the return'],
    );
    await again.end('SIGTERM');
  });

  it('G1: a busy server acknowledges nothing into the old file', async () => {
    const { server, exited } = await replace('busy.db');
    assert.equal(await push(server, 'into the old file'), false);
    assert.deepEqual(await exited, [1, null]);
    await assertEnded(server);
  });

  it('G8: the server goes on when another program empties the write-ahead log, however often', async () => {
    const path = join(directory.path, 'emptied.db');
    const server = await startProcess(path);
    // SQLite draws the number of the next log at random: one attempt shows nothing.
    for (let attempt = 0; attempt < 16; attempt += 1) {
      assert.ok(await push(server, `before ${attempt}`), server.output());
      checkpoint(path, 'TRUNCATE');
      // A ticket is written by another connection than events.
      const ticket = await fetch(`${server.url}/tokens/ticket`, {
        method: 'POST',
        headers: { Authorization: 'Bearer test-admin', 'Content-Type': 'application/json' },
        body: '{}',
      });
      assert.equal(ticket.status, 201, server.output());
    }
    assert.ok(await push(server, 'the last'), server.output());
    assert.equal(await server.end('SIGTERM'), 0);
  });

  it('an older write-ahead log over the present one ends the server', async () => {
    const path = join(directory.path, 'older-wal.db');
    const server = await startProcess(path);
    const exited = once(server.child, 'exit');
    assert.ok(await push(server, 'in the older one'));
    copyFileSync(`${path}-wal`, `${path}-kept`);
    checkpoint(path, 'RESTART');
    assert.ok(await push(server, 'in the present one'));
    copyFileSync(`${path}-kept`, `${path}-wal`);
    assert.deepEqual(await exited, [1, null]);
    assert.match(server.output(), /-wal is an older one: another program has written into it/);
  });
});
