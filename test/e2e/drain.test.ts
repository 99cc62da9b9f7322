/** Stopping politely, stopping at once, and starting twice. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { runCommand, startProcess, TOKEN, tryPush } from '../support/process.ts';
import { connect } from '../support/service.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const authorization = { Authorization: `Bearer ${TOKEN}` };

it('SIGTERM answers what is in flight, closes sockets with a code that says come back, and exits 0', async () => {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'log.db');
  const server = await startProcess(path);
  const client = await connect(server.port, { headers: authorization });
  client.send({ access_id: 'a', after: 'start' });
  await client.typed('live');
  const silent = await connect(server.port, { headers: { Origin: server.url } });
  const poll = fetch(`${server.url}/events?access_id=quiet&after=now&wait=60`, { headers: authorization });
  const stream = await fetch(`${server.url}/events?access_id=a`, {
    headers: { ...authorization, Accept: 'text/event-stream' },
  });
  const pushes = Array.from({ length: 50 }, (_, at) =>
    tryPush(server.url, [{ accessid: 'a', created_at: at, payload: at }]),
  );
  await pushes[0];
  const code = server.end('SIGTERM');
  assert.deepEqual(await client.closed(), [1012, 'restarting']);
  assert.equal((await silent.closed())[0], 1012);
  assert.deepEqual(((await (await poll).json()) as { events: unknown[] }).events, []);
  await stream.text();
  const acknowledged = (await Promise.all(pushes)).filter(Boolean).length;
  assert.equal(await code, 0);

  const again = await startProcess(path);
  const page = (await (
    await fetch(`${again.url}/events?access_id=a`, { headers: authorization })
  ).json()) as { events: unknown[] };
  assert.equal(page.events.length, acknowledged);
  assert.equal(await again.end('SIGINT'), 0);
  directory.remove();
});

it('a second signal ends it at once', async () => {
  const directory = temporaryDirectory();
  const server = await startProcess(join(directory.path, 'log.db'));
  // A request that never ends keeps the drain waiting.
  const hanging = fetch(`${server.url}/push_events`, {
    method: 'POST',
    headers: { ...authorization, 'Content-Type': 'application/json' },
    body: new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('[')) }),
    duplex: 'half',
  }).catch(() => undefined);
  await fetch(`${server.url}/health`);
  server.child.kill('SIGTERM');
  await until(
    () =>
      fetch(`${server.url}/health`).then(
        () => false,
        () => true,
      ),
    'the server to accept no connection',
  );
  assert.equal(await server.end('SIGTERM'), 1);
  await hanging;
  directory.remove();
});

it('a second start on the same file says so and stops; the first goes on', async () => {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'log.db');
  const server = await startProcess(path);
  const second = await runCommand(['serve'], {
    PORT: '0',
    DATABASE_URL: `sqlite:${path}`,
    LASTSEEN_LOG: 'warn',
  });
  assert.equal(second.code, 1);
  assert.match(second.stderr, /^lastseen: .*log\.db is in use by another lastseen process.*\n$/);
  assert.ok(await tryPush(server.url, [{ accessid: 'a', created_at: 1, payload: 1 }]));
  await server.end('SIGKILL');
  const third = await startProcess(path);
  await third.end('SIGTERM');
  directory.remove();
});
