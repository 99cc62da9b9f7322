/** kill -9 in the middle of pushes, many times on one file. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { createChance, SEED } from '../support/chance.ts';
import { startProcess, TOKEN, tryPush } from '../support/process.ts';
import { connect, type WireEvent } from '../support/service.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const ROUNDS = 12;
const PUSHERS = 8;
const BATCH = 5;

interface Row {
  position: number;
  access_id: string;
  version: number;
  payload: string;
}

it('G1–G5: whatever the moment of a crash, what was acknowledged is there once, batches are whole, and clients resume exactly', async (context) => {
  context.diagnostic(`seed ${SEED}`);
  const chance = createChance(SEED);
  const directory = temporaryDirectory();
  const path = join(directory.path, 'log.db');
  const acknowledged = new Set<string>();
  let batches = 0;

  /** What a follower of one feed has, across all crashes. */
  const followed: WireEvent[] = [];

  for (let round = 0; round < ROUNDS; round += 1) {
    const server = await startProcess(path);
    const unanswered: { name: string; events: unknown[]; headers: Record<string, string> }[] = [];
    let isRunning = true;

    const follower = await connect(server.port, { headers: { Authorization: `Bearer ${TOKEN}` } });
    follower.send({ access_id: 'feed0', after: followed.at(-1)?.cursor ?? 'start' });
    await follower.typed('subscribed');

    async function pusher(number: number): Promise<void> {
      while (isRunning) {
        const name = `batch${(batches += 1)}`;
        const withIds = batches % 2 === 0;
        const events = Array.from({ length: BATCH }, (_, at) => ({
          accessid: `feed${(number + at) % 4}`,
          created_at: at,
          payload: `${name}/${at}`,
          ...(withIds ? { id: `${name}/${at}` } : {}),
        }));
        const headers: Record<string, string> = withIds ? {} : { 'Idempotency-Key': name };
        if (await tryPush(server.url, events, headers)) {
          acknowledged.add(name);
        } else {
          unanswered.push({ name, events, headers });
        }
      }
    }

    const pushers = Array.from({ length: PUSHERS }, (_, number) => pusher(number));
    await sleep(chance.between(30, 280));
    isRunning = false;
    await server.end('SIGKILL');
    await Promise.all(pushers);
    await follower.closed();
    for (const frame of follower.frames) {
      const value = JSON.parse(frame) as { type: string; events?: WireEvent[] };
      if (value.type === 'events') {
        followed.push(...(value.events ?? []));
      }
    }

    if (round % 3 === 2) {
      // Retrying what got no answer appends it once, whether or not it had been taken.
      const again = await startProcess(path);
      for (const { name, events, headers } of unanswered) {
        assert.ok(await tryPush(again.url, events, headers), `${name} is taken at last`);
        acknowledged.add(name);
      }
      await again.end('SIGKILL');
    }
    check(path, acknowledged);
  }

  const server = await startProcess(path);
  const follower = await connect(server.port, { headers: { Authorization: `Bearer ${TOKEN}` } });
  follower.send({ access_id: 'feed0', after: followed.at(-1)?.cursor ?? 'start' });
  await follower.typed('live');
  for (const frame of follower.frames) {
    const value = JSON.parse(frame) as { type: string; events?: WireEvent[] };
    if (value.type === 'events') {
      followed.push(...(value.events ?? []));
    }
  }
  const expected = check(path, acknowledged).filter((row) => row.access_id === 'feed0');
  assert.deepEqual(
    followed.map(({ version, payload }) => [version, payload]),
    expected.map(({ version, payload }) => [version, JSON.parse(payload) as unknown]),
  );
  assert.equal(await server.end('SIGTERM'), 0);
  directory.remove();
});

/** The file by itself: no hole, no half batch, nothing acknowledged that is missing or there twice. */
function check(path: string, acknowledged: ReadonlySet<string>): Row[] {
  const db = new Database(path, { readonly: true });
  const rows = db
    .prepare<[], Row>('select position, access_id, version, payload from events order by position')
    .all();
  db.close();
  const versions = new Map<string, number>();
  const parts = new Map<string, number>();
  rows.forEach((row, at) => {
    assert.equal(row.position, at + 1, 'positions have no holes');
    assert.equal(row.version, (versions.get(row.access_id) ?? 0) + 1, 'versions have no holes');
    versions.set(row.access_id, row.version);
    const name = (JSON.parse(row.payload) as string).split('/')[0] ?? '';
    parts.set(name, (parts.get(name) ?? 0) + 1);
  });
  for (const [name, count] of parts) {
    assert.equal(count, BATCH, `${name} is whole, and there once`);
  }
  for (const name of acknowledged) {
    assert.ok(parts.has(name), `${name} was acknowledged`);
  }
  return rows;
}
