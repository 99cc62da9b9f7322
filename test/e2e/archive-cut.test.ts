/** An archive that is written while the log changes: it has one moment of one log, or it says that it cannot. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { renameSync, rmSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import type { Database } from '../../src/engines/engine.ts';
import { openEngine } from '../../src/engines/open.ts';
import { createLog, type Log } from '../../src/log/log.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { event, readAll } from '../engines/contract.ts';
import { eachEngine, type EngineDatabase } from '../engines/each-engine.ts';
import { runSql } from '../support/postgres.ts';
import { BARE_ENVIRONMENT, MAIN, type Outcome, runCommand } from '../support/process.ts';

const FEEDS = Array.from({ length: 40 }, (_, at) => `feed${at}`);
const ROUNDS = 300;
const TEXT = 'x'.repeat(300);

async function openLog(target: Database): Promise<Log> {
  const { store } = await openEngine(target, { runtime: systemRuntime });
  return createLog({ store, runtime: systemRuntime });
}

/** Appends one event to each feed, `rounds` times. */
async function fill(log: Log, rounds: number): Promise<void> {
  for (let n = 0; n < rounds; n += 1) {
    await log.append({ events: FEEDS.map((feed) => event(feed, `${n}${TEXT}`)), key: null });
  }
}

interface BlockedExport {
  /** Reads the output, and returns the outcome. */
  finish(): Promise<Outcome>;
}

/** An export to a pipe that nobody reads yet: it has read the first part of the log and waits. */
async function startBlockedExport(database: EngineDatabase): Promise<BlockedExport> {
  const child: ChildProcess = spawn(process.execPath, [MAIN, 'export'], {
    env: { ...BARE_ENVIRONMENT, ...database.settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { stdout, stderr } = child;
  assert.ok(stdout !== null && stderr !== null);
  const errors = buffer(stderr);
  const ended = once(child, 'close') as Promise<[number | null]>;
  await once(stdout, 'readable');
  return {
    async finish() {
      const text = await buffer(stdout);
      const [code] = await ended;
      return { code, stdout: text.toString(), stderr: (await errors).toString() };
    },
  };
}

describe('an archive that is written while the log changes', () => {
  eachEngine((engine) => {
    it('G3, G6: it has one moment of the log, whatever pushes and retention do meanwhile', async () => {
      const database = await engine.createDatabase();
      const log = await openLog(database.target);
      await fill(log, ROUNDS);
      const blocked = await startBlockedExport(database);
      await fill(log, 5);
      await log.append({ events: [event('late', 1)], key: { value: 'late', fingerprint: 'f' } });
      // Of each feed, retention deletes events that the export has read, others that it has not, and later ones.
      await log.prune({ keepPerAccessId: 3 });
      await fill(log, 2);
      const { code, stdout, stderr } = await blocked.finish();
      assert.equal(code, 0, stderr);
      await log.close();

      const copy = await engine.createDatabase();
      const imported = await runCommand(['import'], copy.settings, stdout);
      assert.equal(imported.code, 0, imported.stderr);
      const opened = await openLog(copy.target);
      const { head } = await opened.bounds();
      const next = await opened.append({
        events: FEEDS.map((feed) => event(feed, 'next')),
        key: null,
      });
      for (const [at, feed] of FEEDS.entries()) {
        const start = await opened.resolve(feed, { after: 'start' });
        assert.ok(start.position <= head, `${feed} begins within the log`);
        const events = await readAll(opened, feed, start);
        assert.equal(
          events.at(-1)?.position,
          next[at]?.position,
          `${feed}: an acknowledged event is delivered`,
        );
        const first = events[0]?.version ?? 0;
        assert.deepEqual(
          events.map(({ version }) => version),
          events.map((_, index) => first + index),
          `${feed}: versions without a hole`,
        );
        assert.equal(events.at(-1)?.version, next[at]?.version);
      }
      await opened.close();
    });

    it('G13: a log that is replaced meanwhile is not mixed with the new one: the export fails', async () => {
      const database = await engine.createDatabase();
      const log = await openLog(database.target);
      await fill(log, ROUNDS);
      await log.close();
      const other = await engine.createDatabase();
      const otherLog = await openLog(other.target);
      await fill(otherLog, ROUNDS);
      await otherLog.close();

      const blocked = await startBlockedExport(database);
      await replaceLog(database.target, other.target);
      const { code, stdout, stderr } = await blocked.finish();
      assert.equal(code, 1, stderr);
      assert.match(
        stderr,
        /another log has replaced .* during the export: no archive was written, repeat the export/,
      );
      const copy = await engine.createDatabase();
      const imported = await runCommand(['import'], copy.settings, stdout);
      assert.deepEqual([imported.code, imported.stderr.includes('truncated')], [2, true], imported.stderr);
    });

    it('an archive of another form of the same log is not imported, and nothing of it is kept', async () => {
      const database = await engine.createDatabase();
      const log = await openLog(database.target);
      await fill(log, 3);
      await log.append({ events: [event('feed0', 1)], key: { value: 'k', fingerprint: 'f' } });
      await log.prune({ keepPerAccessId: 2 });
      await log.close();
      const exported = await runCommand(['export'], database.settings);
      const lines = exported.stdout.trimEnd().split('\n');
      const head = Number(/"head":(\d+)/.exec(lines[0] ?? '')?.[1]);
      const isFeed = (line: string): boolean => line.startsWith('{"feed":');
      const isEvent = (line: string): boolean => line.startsWith('{"position":');
      const where = (test: (line: string) => boolean, change: (line: string) => string): string[] => {
        const at = lines.findIndex(test);
        return lines.map((line, index) => (index === at ? change(line) : line));
      };
      const without = (test: (line: string) => boolean): string[] => where(test, () => '');
      const countOne = (text: string[]): string[] =>
        text.map((line) =>
          line.replace(/"events":(\d+)/, (_, count: string) => `"events":${Number(count) - 1}`),
        );
      const archives: readonly [changed: string[], complaint: RegExp][] = [
        [
          where(isFeed, (line) => line.replace(/"pruned_position":\d+/, `"pruned_position":${head + 5}`)),
          /beyond the last event of/,
        ],
        [
          where(isFeed, (line) =>
            line
              .replace(/"pruned_position":\d+/, `"pruned_position":${head + 5}`)
              .replace(/"position":\d+/, `"position":${head + 5}`),
          ),
          /has a mark of|beyond the end of the archive/,
        ],
        [without(isFeed), /follows a version that is missing: version 2 of/],
        [countOne(without(isEvent)), /follows a version that is missing|feeds have \d+ versions/],
        [
          where(
            (line) => line.startsWith('{"batch":'),
            (line) => line.replace(/"last_position":\d+/, `"last_position":${head + 1}`),
          ),
          new RegExp(`has the position ${head + 1}, which is beyond the end of the archive at ${head}`),
        ],
        [
          where(
            (line) => line.startsWith('{"end":'),
            (line) => line.replace(/"epoch":"\w+"/, '"epoch":"00000000"'),
          ),
          /ends the archive of another log: epoch 00000000/,
        ],
        [
          where(
            (line) => line.startsWith('{"end":'),
            (line) => line.replace(/"floor":\d+/, `"floor":${head}`),
          ),
          /the archive says that its log has the positions/,
        ],
        [lines.slice(0, -1), /truncated/],
      ];
      const copy = await engine.createDatabase();
      for (const [changed, complaint] of archives) {
        const text = `${changed.filter((line) => line !== '').join('\n')}\n`;
        const refused = await runCommand(['import'], copy.settings, text);
        assert.equal(refused.code, 2, `${complaint.source}: ${refused.stderr}`);
        assert.match(refused.stderr, complaint);
        assert.match(refused.stderr, /nothing was imported/);
      }
      const opened = await openLog(copy.target);
      assert.equal((await opened.bounds()).head, 0);
      await opened.close();
      const imported = await runCommand(['import'], copy.settings, exported.stdout);
      assert.equal(imported.code, 0, imported.stderr);
    });
  });
});

/** Puts another log under the name, past every server: a file that is moved, or a database that is loaded anew. */
async function replaceLog(target: Database, other: Database): Promise<void> {
  if (target.kind === 'sqlite' && other.kind === 'sqlite') {
    for (const suffix of ['-wal', '-shm']) {
      rmSync(target.path + suffix, { force: true });
    }
    renameSync(other.path, target.path);
  } else if (target.kind === 'postgres') {
    await runSql(target.url, 'update log set head_tag = head_tag + 1');
    await runSql(
      target.url,
      `begin; set local session_replication_role = replica; update events set tag = tag + 1; commit`,
    );
  }
}
