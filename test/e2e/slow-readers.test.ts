/** Twenty clients, each with an access_id of its own, that stop reading while 60 MB are pushed for each. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { WebSocket } from 'ws';
import { startProcess, TOKEN, tryPush } from '../support/process.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const READERS = 20;
const EVENTS = 1_000;
const PAYLOAD = 'x'.repeat(60_000);

/** Ring 32 MiB as UTF-16 at worst, buffers of 20 × (256 KiB + a frame), pushes in flight, and the heap's slack. */
const MAX_GROWTH_MIB = 400;

interface Reader {
  readonly socket: WebSocket;
  versions: number[];
  readonly done: Promise<void>;
}

function startReader(port: number, accessId: string): Reader {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/subscribe_to_events`, {
    headers: { Authorization: `Bearer ${TOKEN}` },
  });
  let finish: () => void = () => undefined;
  const reader: Reader = { socket, versions: [], done: new Promise((resolve) => (finish = resolve)) };
  socket.on('open', () => socket.send(JSON.stringify({ access_id: accessId, after: 'start' })));
  socket.on('message', (data: Buffer) => {
    const frame = JSON.parse(data.toString()) as { type: string; events?: { version: number }[] };
    if (frame.type === 'events') {
      reader.versions.push(...(frame.events ?? []).map((event) => event.version));
    }
    if (reader.versions.length >= EVENTS) {
      finish();
    }
  });
  return reader;
}

function residentMib(pid: number | undefined): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

it('G7, G8: clients that stop reading cost bounded memory and delay nobody, and end exact', async (context) => {
  const directory = temporaryDirectory();
  const server = await startProcess(join(directory.path, 'log.db'));
  context.after(async () => {
    for (const { socket } of [healthy, ...stalled]) {
      socket.terminate();
    }
    await server.end('SIGKILL');
    directory.remove();
  });
  const stalled = Array.from({ length: READERS }, (_, at) => startReader(server.port, `reader-${at}`));
  const healthy = startReader(server.port, 'reader-0');
  await Promise.all(
    [...stalled, healthy].map(({ socket }) => new Promise((resolve) => socket.once('message', resolve))),
  );
  for (const { socket } of stalled) {
    socket.pause();
  }
  const before = residentMib(server.child.pid);
  let most = before;
  for (let sent = 0; sent < EVENTS; sent += 1) {
    const batch = stalled.map((_, at) => ({
      accessid: `reader-${at}`,
      created_at: sent,
      payload: PAYLOAD,
    }));
    assert.ok(await tryPush(server.url, batch));
    most = Math.max(most, residentMib(server.child.pid));
  }
  await healthy.done;
  assert.ok(
    stalled.every((reader) => reader.versions.length < EVENTS),
    'they really had stopped',
  );
  context.diagnostic(`memory grew by ${Math.round(most - before)} MiB of at most ${MAX_GROWTH_MIB}`);
  assert.ok(most - before < MAX_GROWTH_MIB, `memory grew by ${Math.round(most - before)} MiB`);
  for (const { socket } of stalled) {
    socket.resume();
  }
  await Promise.all(stalled.map((reader) => reader.done));
  const expected = Array.from({ length: EVENTS }, (_, at) => at + 1);
  for (const { versions } of [healthy, ...stalled]) {
    assert.deepEqual(versions, expected);
  }
  assert.equal(await server.end('SIGTERM'), 0);
});
