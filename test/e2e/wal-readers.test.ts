/** Readers that keep the write-ahead log of the SQLite file. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import Database from 'better-sqlite3';
import { startProcess, TOKEN, tryPush } from '../support/process.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const LIMIT_BYTES = 64 * 1024 * 1024;
const PUSHES = 300;

it('G8: a tool that keeps a read transaction open stops no push, the log names it, and the write-ahead log shrinks after it', async () => {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'log.db');
  const server = await startProcess(path);
  const walBytes = (): number => statSync(`${path}-wal`).size;
  const push = (payload: string): Promise<boolean> =>
    tryPush(server.url, [{ accessid: 'a', created_at: 0, payload }]);
  async function pinnedSeconds(): Promise<number> {
    const response = await fetch(`${server.url}/metrics`, { headers: { Authorization: `Bearer ${TOKEN}` } });
    return Number(/^lastseen_sqlite_wal_pinned_seconds (\S+)$/m.exec(await response.text())?.[1]);
  }

  const tool = new Database(path, { readonly: true });
  tool.exec('begin');
  tool.prepare('select count(*) from events').get();
  while (walBytes() < LIMIT_BYTES * 1.1) {
    assert.ok(await push('x'.repeat(1_000_000)));
  }
  for (let count = 0; count < PUSHES; count += 1) {
    assert.ok(await push(`small ${count}`));
  }
  await until(async () => (await pinnedSeconds()) > 0, 'the metric of the pinned log');
  await until(
    () => server.output().includes('a reader has kept a transaction open'),
    'the line about the reader',
  );
  if (process.platform === 'linux') {
    assert.match(server.output(), new RegExp(`process ${process.pid} \\(`));
  }
  assert.ok(walBytes() > LIMIT_BYTES);

  tool.close();
  await until(async () => (await push('after the tool')) && walBytes() <= LIMIT_BYTES, 'a smaller log');
  await until(async () => (await pinnedSeconds()) === 0, 'the metric to be 0 again');
  assert.equal(await server.end('SIGTERM'), 0);
  directory.remove();
});
