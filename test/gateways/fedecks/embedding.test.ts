/** The example of docs/guides/embedding.md is run as it stands there, with two devices. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { openDevice, refusedDevice, TOKEN_PLEASE } from '../../support/devices.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const ROOT = join(import.meta.dirname, '../../..');

it('an application serves devices with a handler of its own, as docs/guides/embedding.md shows', async () => {
  const text = readFileSync(join(ROOT, 'docs/guides/embedding.md'), 'utf8');
  const example = /^```js\n([\s\S]*?)^```$/m.exec(text)?.[1] ?? '';
  assert.match(example, /from 'lastseen'/);
  const directory = temporaryDirectory();
  const file = join(directory.path, 'boxes.mjs');
  writeFileSync(file, example.replace("'lastseen'", `'${pathToFileURL(join(ROOT, 'src/index.ts')).href}'`));
  const child = spawn(process.execPath, [file], {
    cwd: ROOT,
    env: {
      PATH: process.env['PATH'],
      PORT: '0',
      DATABASE_URL: `sqlite:${join(directory.path, 'log.db')}`,
      LASTSEEN_LOG: 'silent',
      LASTSEEN_ADMIN_TOKEN: 'admin',
      BOXES_PASSWORD: 'toast',
      BOXES_SECRET: 'a secret for all boxes',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  let complaints = '';
  child.stderr.on('data', (data: Buffer) => (complaints += data.toString()));
  let port = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    port = Number(/^boxes come to ws:\/\/127\.0\.0\.1:(\d+)\/boxes\/websocket$/.exec(line)?.[1] ?? 0);
    break;
  }
  assert.ok(port > 0, complaints);

  const path = '/boxes/websocket';
  const login = (id: string, password = 'toast'): Parameters<typeof openDevice>[1] => ({
    'fedecks-device-id': id,
    username: 'kitchen',
    password,
  });
  const [first, second] = [
    await openDevice(port, login('one'), path),
    await openDevice(port, login('two'), path),
  ];
  second.socket.ping();
  first.send('who am I?');
  assert.deepEqual(await first.some(1), [new Map([['box', 'one']])]);
  first.raw(Buffer.from('raw'));
  assert.deepEqual((await first.some(2))[1], 3);
  first.send(['news', 1]);
  assert.deepEqual(await second.some(1), [['news', 1]]);
  first.send(TOKEN_PLEASE);
  const token = await first.token();
  first.send('bye');
  assert.equal((await first.closed())[0], 1000);
  await (await openDevice(port, { 'fedecks-device-id': 'one', 'fedecks-token': token }, path)).close();
  assert.equal((await refusedDevice(port, login('one', 'jam'), path)).status, 403);

  child.kill('SIGTERM');
  assert.equal((await second.closed())[0], 1012);
  assert.deepEqual(await exited, [0, null]);
  assert.equal(complaints, 'refused one authentication_failed \n');
  directory.remove();
});
