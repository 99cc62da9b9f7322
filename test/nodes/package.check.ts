/** The installed package on the Node that `run.ts` names: the server, its wires, queries, the SDK and the command. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { connect, type Page, type Problem } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const run = promisify(execFile);
const { CHECKED_NODE: node = '', CHECKED_DIRECTORY: installed = '' } = process.env;
const MAIN = join(installed, 'node_modules/lastseen/bin/lastseen.js');
const TOKEN = 'checked-admin';
const MIB = 1024 * 1024;

describe('the package', () => {
  const authorization = { Authorization: `Bearer ${TOKEN}` };
  let directory: TemporaryDirectory;
  let child: ChildProcess;
  let url = '';
  let complaints = '';

  before(async () => {
    directory = temporaryDirectory();
    child = spawn(node, [MAIN, 'serve'], {
      env: {
        PATH: process.env['PATH'],
        PORT: '0',
        DATABASE_URL: `sqlite:${join(directory.path, 'log.db')}`,
        LASTSEEN_ADMIN_TOKEN: TOKEN,
        LASTSEEN_QUERY_MEMORY_BYTES: String(128 * MIB),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stderr?.on('data', (data: Buffer) => (complaints += data.toString()));
    assert.ok(child.stdout !== null);
    for await (const line of createInterface({ input: child.stdout })) {
      url = /^lastseen listening on (http:\S+)$/.exec(line)?.[1] ?? '';
      if (url !== '') {
        break;
      }
    }
    child.stdout.resume();
    assert.notEqual(url, '', complaints);
  });
  after(() => {
    child.kill('SIGKILL');
    directory.remove();
  });

  const post = (path: string, body: unknown): Promise<Response> =>
    fetch(url + path, {
      method: 'POST',
      headers: { ...authorization, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });

  async function push(...payloads: string[]): Promise<void> {
    const events = payloads.map((payload) => ({ accessid: 'a', created_at: 1, payload }));
    assert.equal(await (await post('/push_events', events)).text(), 'true');
  }

  it('the command knows its version', async () => {
    const { version } = JSON.parse(
      readFileSync(join(installed, 'node_modules/lastseen/package.json'), 'utf8'),
    ) as { version: string };
    const { stdout, stderr } = await run(node, [MAIN, '--version']);
    assert.deepEqual([stdout, stderr], [`${version}\n`, '']);
  });

  it('what is pushed is on a page, and a socket that resumes gets what came later', async () => {
    await push('one', 'two');
    const page = (await (
      await fetch(`${url}/events?access_id=a&after=start`, { headers: authorization })
    ).json()) as Page;
    assert.deepEqual(
      page.events.map((event) => event.payload),
      ['one', 'two'],
    );
    const port = Number(new URL(url).port);
    const follow = async (after: string, count: number): Promise<[payloads: unknown[], cursor: string]> => {
      const client = await connect(port, { headers: authorization });
      client.send({ access_id: 'a', after });
      const events = await client.events(count);
      await client.close();
      return [events.map((event) => event.payload), events.at(-1)?.cursor ?? ''];
    };
    const [first, cursor] = await follow('start', 2);
    assert.deepEqual(first, ['one', 'two']);
    await push('three');
    assert.deepEqual((await follow(cursor, 1))[0], ['three']);
  });

  it('a query is answered, and one that takes too much memory is refused', async () => {
    const gather = `with recursive
        n(i) as (select 1 union all select i + 1 from n where i < $1),
        kept as materialized (select format('%.*c', ${String(MIB)}, 'x') as text from n)
      select count(text) from kept`;
    const rows = async (count: number): Promise<unknown> => {
      const response = await post('/query', { sql: gather, params: [count] });
      const body = (await response.json()) as Problem & { readonly rows: unknown };
      return response.status === 200 ? body.rows : [response.status, body.code];
    };
    for (const [count, expected] of [
      [64, [[64]]],
      [256, [422, 'ERR_QUERY_LIMIT']],
      [64, [[64]]],
    ] as const) {
      assert.deepEqual(await rows(count), expected);
    }
  });

  it('the SDK publishes and subscribes, by each transport', async () => {
    const file = join(installed, 'sdk.mjs');
    writeFileSync(
      file,
      `import { createPublisher, subscribe } from 'lastseen/client';
       import { fileStore } from 'lastseen/client/node';
       const [url, token, path] = process.argv.slice(2);
       const publisher = createPublisher({ url, token });
       await publisher.push({ accessId: 'sdk', createdAt: 1, payload: 'hello' });
       await publisher.close();
       for (const transport of ['websocket', 'stream', 'poll'])
         for await (const { payload } of subscribe({ url, token, accessId: 'sdk', after: 'start', store: fileStore(path + transport), transports: [transport] })) {
           console.log(transport, payload);
           break;
         }`,
    );
    const { stdout, stderr } = await run(node, [file, url, TOKEN, join(directory.path, 'cursor-')]);
    assert.deepEqual([stdout, stderr], ['websocket hello\nstream hello\npoll hello\n', '']);
  });

  it('the server ends politely, and has complained of nothing', async () => {
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [0, null]);
    assert.equal(complaints, '');
  });
});
