/** A disk that is full, for real: a small file system of its own, in a mount namespace of the server's own. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { startProcess, TOKEN } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const DISK_MIB = 24;
const FILLER_MIB = 12;

it(
  'G1, G4: a full disk refuses pushes and loses nothing, reads go on, and space that comes back is used',
  { skip: missing('private mounts') },
  async () => {
    const directory = temporaryDirectory();
    const mount = `mount -t tmpfs -o size=${DISK_MIB}m tmpfs ${directory.path} && exec "$@"`;
    const server = await startProcess(join(directory.path, 'log.db'), {}, [
      'unshare',
      '--mount',
      '--map-root-user',
      'sh',
      '-c',
      mount,
      'sh',
    ]);
    // The server's own view of its directory.
    const inside = join('/proc', String(server.child.pid), 'root', directory.path);
    const filler = join(inside, 'filler');
    writeFileSync(filler, Buffer.alloc(FILLER_MIB * 1024 * 1024));

    const acknowledged: string[] = [];
    let sent = 0;
    async function push(): Promise<number> {
      const batch = Array.from({ length: 20 }, (_, at) => ({
        accessid: 'disk',
        created_at: at,
        id: `${sent}-${at}`,
        payload: 'x'.repeat(2_000),
      }));
      sent += 1;
      const response = await fetch(`${server.url}/push_events`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(batch),
      });
      const text = await response.text();
      if (response.status === 200) {
        acknowledged.push(...batch.map(({ id }) => id));
      } else {
        // The commit that met the full disk has no known outcome. Later pushes are not appended.
        const isUnknown = response.status === 504;
        assert.ok(isUnknown || response.status === 503, text);
        assert.match(text, isUnknown ? /"code":"ERR_OUTCOME_UNKNOWN"/ : /"code":"ERR_STORE_UNAVAILABLE"/);
        assert.ok(response.headers.get('retry-after'));
      }
      return response.status;
    }
    /** The ids of the feed, over HTTP, with versions that have no hole. */
    async function stored(): Promise<string[]> {
      const ids: string[] = [];
      let after = 'start';
      for (;;) {
        const response = await fetch(`${server.url}/events?access_id=disk&limit=5000&after=${after}`, {
          headers: { Authorization: `Bearer ${TOKEN}` },
        });
        assert.equal(response.status, 200);
        const page = (await response.json()) as {
          events: { id: string; version: number }[];
          cursor: string;
          caught_up: boolean;
        };
        for (const event of page.events) {
          ids.push(event.id);
          assert.equal(event.version, ids.length);
        }
        if (page.caught_up) {
          return ids;
        }
        after = page.cursor;
      }
    }

    let refusals = 0;
    for (let count = 0; count < 1_000 && refusals < 5; count += 1) {
      if ((await push()) !== 200) {
        refusals += 1;
      }
    }
    assert.equal(refusals, 5, 'the disk was filled');
    assert.deepEqual(await stored(), acknowledged);
    assert.equal((await fetch(`${server.url}/health`)).status, 200);

    rmSync(filler);
    const before = acknowledged.length;
    for (let count = 0; count < 20; count += 1) {
      assert.equal(await push(), 200);
    }
    assert.equal(acknowledged.length, before + 400);
    assert.deepEqual(await stored(), acknowledged);
    assert.equal(await server.end('SIGTERM'), 0);
    directory.remove();
  },
);
