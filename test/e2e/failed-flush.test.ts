/** Commits that fail for real: a limit on the size of files, and a disk whose flush fails. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import Database from 'better-sqlite3';
import { startProcess, TOKEN } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

interface Answer {
  readonly name: string;
  readonly status: number;
  readonly code: string;
}

const HEADERS = { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' };

/** Pushes a batch; each event is called `NAME/index`. */
async function push(url: string, name: string, count = 20): Promise<Answer> {
  const batch = Array.from({ length: count }, (_, index) => ({
    accessid: 'disk',
    created_at: index,
    id: `${name}/${index}`,
    payload: 'x'.repeat(2_000),
  }));
  const response = await fetch(`${url}/push_events`, {
    method: 'POST',
    headers: HEADERS,
    body: JSON.stringify(batch),
  });
  const text = await response.text();
  return { name, status: response.status, code: /"code":"(\w+)"/.exec(text)?.[1] ?? text };
}

/** The number of events of each batch in the log. Versions must have no hole. */
async function storedBatches(url: string): Promise<Map<string, number>> {
  const batches = new Map<string, number>();
  let version = 0;
  for (let cursor = 'start'; ;) {
    const response = await fetch(`${url}/events?access_id=disk&limit=500&after=${cursor}`, {
      headers: HEADERS,
    });
    assert.equal(response.status, 200);
    const page = (await response.json()) as {
      events: { id: string; version: number }[];
      cursor: string;
      caught_up: boolean;
    };
    for (const event of page.events) {
      assert.equal(event.version, (version += 1));
      const [name = ''] = event.id.split('/');
      batches.set(name, (batches.get(name) ?? 0) + 1);
    }
    if (page.caught_up) {
      return batches;
    }
    cursor = page.cursor;
  }
}

function assertHonest(answers: readonly Answer[], stored: ReadonlyMap<string, number>): void {
  for (const { name, status } of answers) {
    const count = stored.get(name) ?? 0;
    if (status === 200) {
      assert.equal(count, 20, `${name} was acknowledged`);
    } else if (status === 503) {
      assert.equal(count, 0, `${name} was answered “not appended”`);
    } else {
      assert.ok(count === 0 || count === 20, `${name} is whole or absent`);
    }
  }
}

describe('a commit that fails', () => {
  const directory = temporaryDirectory();
  after(() => {
    directory.remove();
  });

  it('G14: a push whose commit fails is answered 504, later ones 503 until a flush succeeds, and what was answered “not appended” is absent after a crash', async () => {
    const path = join(directory.path, 'limited.db');
    // Files of at most 1 MiB. Node ignores the signal, so that writes beyond it fail.
    const server = await startProcess(path, {}, ['sh', '-c', 'ulimit -f 2048; exec "$@"', 'sh']);
    const answers: Answer[] = [];
    while (answers.filter(({ status }) => status === 503).length < 3) {
      answers.push(await push(server.url, `batch${answers.length}`));
    }
    const [failed] = answers.filter(({ status }) => status !== 200);
    assert.deepEqual([failed?.status, failed?.code], [504, 'ERR_OUTCOME_UNKNOWN']);
    for (const { status, code } of answers) {
      assert.ok(
        status === 200 || code === (status === 504 ? 'ERR_OUTCOME_UNKNOWN' : 'ERR_STORE_UNAVAILABLE'),
      );
    }
    assertHonest(answers, await storedBatches(server.url));
    await server.end('SIGKILL');

    const again = await startProcess(path);
    assertHonest(answers, await storedBatches(again.url));
    for (const { name, status } of answers) {
      if (status !== 200) {
        assert.equal((await push(again.url, name)).status, 200, `${name} is pushed again with its ids`);
      }
    }
    const stored = await storedBatches(again.url);
    assert.equal(stored.size, answers.length);
    assert.equal(await again.end('SIGTERM'), 0);
  });

  it('G14: a file that cannot be flushed any more ends the process with one clear line', async () => {
    const path = join(directory.path, 'ended.db');
    const server = await startProcess(path, {}, ['sh', '-c', 'ulimit -f 2048; exec "$@"', 'sh']);
    const exited = once(server.child, 'exit');
    for (let count = 0; (await push(server.url, `batch${count}`)).status !== 503;) {
      count += 1;
    }
    assert.deepEqual(await exited, [1, null]);
    await until(() => server.output().includes('"level":60'), 'the last line');
    const lines = server.output().split('\n');
    assert.equal(lines.filter((line) => line.includes('"level":60')).length, 1);
    assert.match(server.output(), /cannot be written: disk I\/O error\. The process ends/);
  });

  it(
    'G14: after a flush that failed, the group is not known until the file was flushed, and never comes back after that',
    { skip: missing('C compiler') },
    async () => {
      const path = join(directory.path, 'flush.db');
      const fault = join(directory.path, 'fault');
      const library = compileFault(directory.path);
      const start = (): ReturnType<typeof startProcess> =>
        startProcess(path, { LD_PRELOAD: library, FAILING_FLUSH: fault });
      const answers: Answer[] = [];
      let server = await start();
      answers.push(await push(server.url, 'before'));

      writeFileSync(fault, '');
      answers.push(await push(server.url, 'crashed'));
      assert.deepEqual(answers.at(-1)?.code, 'ERR_OUTCOME_UNKNOWN');
      answers.push(await push(server.url, 'refused'));
      assert.deepEqual(answers.at(-1)?.code, 'ERR_STORE_UNAVAILABLE');
      await server.end('SIGKILL');
      rmSync(fault);

      server = await start();
      const stored = await storedBatches(server.url);
      assertHonest(answers, stored);
      // The reason for the whole: its commit was in the file although its flush had failed.
      assert.equal(stored.get('crashed'), 20);

      for (const name of ['overwritten', 'overwritten beside a reader']) {
        const tool = new Database(path, { readonly: true });
        if (name.endsWith('reader')) {
          // It keeps the write-ahead log from being emptied.
          answers.push(await push(server.url, `before ${name}`));
          tool.exec('begin');
          tool.prepare('select count(*) from events').get();
        }
        writeFileSync(fault, '');
        answers.push(await push(server.url, name));
        assert.deepEqual(answers.at(-1)?.code, 'ERR_OUTCOME_UNKNOWN');
        rmSync(fault);
        await until(async () => {
          answers.push(await push(server.url, `later${answers.length}`));
          return answers.at(-1)?.status === 200;
        }, 'a push that is acknowledged');
        await until(() => server.output().includes('opened again and flushed'), 'the line about it');
        await server.end('SIGKILL');
        tool.close();

        server = await start();
        const last = await storedBatches(server.url);
        assertHonest(answers, last);
        assert.equal(last.get(name), undefined);
      }
      assert.equal(await server.end('SIGTERM'), 0);
    },
  );
});

/** A library that fails the flush of files `-wal` while the file FAILING_FLUSH exists. */
function compileFault(directory: string): string {
  const source = join(directory, 'fault.c');
  const library = join(directory, 'fault.so');
  writeFileSync(
    source,
    `#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int fails(int fd) {
  char link[64], path[4096];
  const char *fault = getenv("FAILING_FLUSH");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 4 || fault == NULL || access(fault, F_OK) != 0) return 0;
  path[length] = 0;
  return strcmp(path + length - 4, "-wal") == 0;
}
int fsync(int fd) {
  if (fails(fd)) { errno = EIO; return -1; }
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
int fdatasync(int fd) {
  if (fails(fd)) { errno = EIO; return -1; }
  return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
`,
  );
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, source, '-ldl']);
  return library;
}
