/** A loop that runs while its log loses events: an older copy of the SQLite files is put back under it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import {
  type ClientError,
  cursorFrom,
  type CursorStore,
  type SubscribeOptions,
  type TransportName,
} from '../../src/client/index.ts';
import { fileStore } from '../../src/client/node.ts';
import { subscribeWith } from '../../src/client/subscribe/subscription.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { copyLog } from '../support/log-copy.ts';
import { type Proxy, startProxy } from '../support/proxy.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

/** Draws short pauses between connections. */
const eager = { ...systemRuntime, random: { ...systemRuntime.random, fraction: () => 0.02 } };

interface Reader {
  readonly seen: { readonly version: number; readonly payload: unknown; readonly cursor: string }[];
  readonly verdicts: ClientError[];
  /** Ends the loop. Rejects with what the loop threw. */
  stop(): Promise<void>;
  readonly ended: Promise<unknown>;
}

describe('a running loop on a log that loses events', () => {
  let directory: TemporaryDirectory;
  let service: Service;
  let proxy: Proxy;
  const readers: Reader[] = [];
  const file = (name: string): string => join(directory.path, name);

  beforeEach(async () => {
    directory = temporaryDirectory();
    service = await startService({}, file('log.db'));
    proxy = await startProxy(service.port);
  });
  afterEach(async () => {
    await Promise.all(readers.splice(0).map((reader) => reader.stop().catch(() => undefined)));
    await proxy.close();
    await service.stop();
    directory.remove();
  });

  const range = (from: number, through: number): number[] =>
    Array.from({ length: through - from + 1 }, (_, at) => from + at);

  /** Pushes events of the feed, with events of another feed between them. */
  async function push(label: string, versions: readonly number[]): Promise<void> {
    await service.push(
      ...versions.flatMap((version) => [
        { accessid: 'a', created_at: 1, payload: `${label}${version}` },
        { accessid: 'other', created_at: 1, payload: version },
      ]),
    );
  }

  async function restart(): Promise<void> {
    await service.stop();
    service = await startService({}, file('log.db'));
    proxy.redirect(service.port);
  }

  /** Puts the copy back, lets the log grow by `versions`, and only then lets the readers come back. */
  async function putBack(label: string, versions: readonly number[]): Promise<void> {
    await service.stop();
    copyLog(file('copy.db'), file('log.db'));
    service = await startService({}, file('log.db'));
    if (versions.length > 0) {
      await push(label, versions);
    }
    proxy.redirect(service.port);
  }

  function read(options: Partial<SubscribeOptions> = {}): Reader {
    const controller = new AbortController();
    const seen: Reader['seen'] = [];
    const verdicts: ClientError[] = [];
    const loop = async (): Promise<void> => {
      for await (const event of subscribeWith(
        {
          url: `http://127.0.0.1:${proxy.port}`,
          token: TOKEN,
          WebSocket,
          accessId: 'a',
          after: 'start',
          signal: controller.signal,
          ...options,
          onVerdict(verdict) {
            verdicts.push(verdict);
            return options.onVerdict?.(verdict) ?? verdict.common ?? 'throw';
          },
        },
        eager,
      )) {
        seen.push(event);
      }
    };
    const ended = loop().catch((error: unknown) => error);
    const reader = {
      seen,
      verdicts,
      ended,
      async stop() {
        controller.abort();
        const error = await ended;
        if (error !== undefined) {
          throw error as Error;
        }
      },
    };
    readers.push(reader);
    return reader;
  }

  const hasSeen = (reader: Reader, payload: string): Promise<void> =>
    until(
      async () => {
        const isSeen = reader.seen.some((event) => event.payload === payload);
        assert.equal(isSeen ? undefined : await Promise.race([reader.ended, Promise.resolve()]), undefined);
        return isSeen;
      },
      () => `${payload}, after ${JSON.stringify(reader.seen.map((event) => event.payload))}`,
    );
  const payloads = (reader: Reader): unknown[] => reader.seen.map((event) => event.payload);

  /** The log as it is now, after a version. */
  async function logAfter(version: number): Promise<unknown[]> {
    const { events } = await service.page('a', '&limit=5000');
    return events.filter((event) => event.version > version).map((event) => event.payload);
  }

  for (const transport of ['websocket', 'stream', 'poll'] as const satisfies TransportName[]) {
    it(`G13: over ${transport}, a reader of lost events gets the verdict with the newest common place of its trail, and resumes exactly after it`, async () => {
      await push('a', range(1, 21));
      const reader = read({ transports: [transport] });
      await hasSeen(reader, 'a21');
      await service.stop();
      copyLog(file('log.db'), file('copy.db'));
      service = await startService({}, file('log.db'));
      proxy.redirect(service.port);
      await push('b', range(22, 30));
      await hasSeen(reader, 'b30');
      await putBack('c', range(22, 35));
      await hasSeen(reader, 'c35');

      const [verdict] = reader.verdicts;
      assert.equal(reader.verdicts.length, 1);
      assert.equal(verdict?.code, 'ERR_CURSOR_DIVERGED');
      assert.equal(verdict.commonBy, 'trail');
      assert.equal(verdict.accessId, 'a');
      assert.ok(verdict.floor !== undefined);
      const common = reader.seen.find((event) => event.cursor === verdict.common)?.version ?? NaN;
      assert.ok(common <= 21 && common >= 16, `the common place is version ${common}`);
      assert.deepEqual(verdict.unproven, { from: common + 1, through: 30 });
      assert.deepEqual(payloads(reader).slice(0, 30), [
        ...range(1, 21).map((version) => `a${version}`),
        ...range(22, 30).map((version) => `b${version}`),
      ]);
      assert.deepEqual(payloads(reader).slice(30), await logAfter(common));
      await reader.stop();
    });

    it(`G13: over ${transport}, the common place is exact where the log knows the term of the cursor`, async () => {
      await push('a', range(1, 5));
      copyLog(file('log.db'), file('copy.db'));
      await push('b', range(6, 8));
      const reader = read({ transports: [transport] });
      await hasSeen(reader, 'b8');
      await putBack('c', range(6, 12));
      await hasSeen(reader, 'c12');

      const [verdict] = reader.verdicts;
      assert.deepEqual(
        [verdict?.code, verdict?.commonBy, verdict?.unproven],
        ['ERR_CURSOR_DIVERGED', 'term', { from: 6, through: 8 }],
      );
      assert.equal(verdict?.common, reader.seen[4]?.cursor);
      assert.deepEqual(payloads(reader).slice(8), await logAfter(5));
      await reader.stop();
    });

    it(`G13: over ${transport}, a reader that saw no lost event resumes without a verdict`, async () => {
      await push('a', range(1, 5));
      const reader = read({ transports: [transport] });
      await hasSeen(reader, 'a5');
      await restart();
      copyLog(file('log.db'), file('copy.db'));
      proxy.redirect(1);
      proxy.cut();
      await push('b', [6]);
      await putBack('c', [6, 7]);
      await hasSeen(reader, 'c7');
      assert.deepEqual(payloads(reader), ['a1', 'a2', 'a3', 'a4', 'a5', 'c6', 'c7']);
      assert.deepEqual(reader.verdicts, []);
      await reader.stop();
    });
  }

  it('G13: a cursor beyond the log gets the same verdict while the log is still shorter', async () => {
    await push('a', range(1, 4));
    await restart();
    copyLog(file('log.db'), file('copy.db'));
    await push('b', range(5, 7));
    const reader = read();
    await hasSeen(reader, 'b7');
    await putBack('c', []);
    await until(() => reader.verdicts.length > 0, 'the verdict');
    assert.deepEqual(
      [reader.verdicts[0]?.code, reader.verdicts[0]?.unproven],
      ['ERR_CURSOR_DIVERGED', { from: 5, through: 7 }],
    );
    await push('c', [5]);
    await hasSeen(reader, 'c5');
    assert.deepEqual(payloads(reader).slice(7), ['c5']);
    await reader.stop();
  });

  it('G13: two losses, one after the other, are two verdicts, each with its own range', async () => {
    await push('a', range(1, 4));
    await restart();
    copyLog(file('log.db'), file('copy.db'));
    await push('b', range(5, 8));
    const reader = read();
    await hasSeen(reader, 'b8');
    await putBack('c', range(5, 9));
    await hasSeen(reader, 'c9');
    await putBack('d', range(5, 10));
    await hasSeen(reader, 'd10');
    assert.deepEqual(
      reader.verdicts.map(({ unproven }) => unproven),
      [
        { from: 5, through: 8 },
        { from: 5, through: 9 },
      ],
    );
    assert.deepEqual(payloads(reader).slice(-11), [
      ...range(5, 9).map((n) => `c${n}`),
      ...range(5, 10).map((n) => `d${n}`),
    ]);
    await reader.stop();
  });

  it('the answer to a verdict may be a word, a cursor, or a promise; without one the verdict is thrown', async () => {
    await push('a', range(1, 4));
    await restart();
    copyLog(file('log.db'), file('copy.db'));
    await push('b', [5, 6]);
    const answers: Record<string, (verdict: ClientError) => string | Promise<string>> = {
      throw: () => 'throw',
      common: () => 'common',
      cursor: ({ common }) => common ?? 'throw',
      floor: () => Promise.resolve('floor'),
      start: () => 'start',
      now: () => 'now',
    };
    const loops = Object.entries(answers).map(([name, onVerdict]) => [name, read({ onVerdict })] as const);
    await Promise.all(loops.map(([, reader]) => hasSeen(reader, 'b6')));
    await putBack('c', [5, 6]);
    await until(() => loops.every(([, reader]) => reader.verdicts.length === 1), 'the verdicts');
    for (const [name, reader] of loops) {
      if (name === 'throw') {
        assert.equal(((await reader.ended) as ClientError).code, 'ERR_CURSOR_DIVERGED');
        continue;
      }
      if (name !== 'now') {
        await hasSeen(reader, 'c6');
      }
      const from = name === 'common' || name === 'cursor' ? 4 : 0;
      if (name !== 'now') {
        assert.deepEqual(payloads(reader).slice(6), await logAfter(from), name);
      }
    }
    // The loop that continues now may not be subscribed yet: it gets one of the next events and all after it.
    const now = loops.find(([name]) => name === 'now')?.[1];
    let last = 6;
    await until(async () => {
      last += 1;
      await push('c', [last]);
      return now !== undefined && payloads(now).length > 6;
    }, 'a new event');
    assert.match(String(now?.seen[6]?.payload), /^c([7-9]|\d{2,})$/);
  });

  it('G13: an application that writes its cursor itself keeps the trail in another store', async () => {
    const written: { cursor?: string | undefined } = {};
    const places = (): CursorStore => fileStore(file('places.json'), { maxLagMs: 0 });
    const store = (): CursorStore => cursorFrom(() => written.cursor, places());
    await push('a', range(1, 20));
    await restart();
    copyLog(file('log.db'), file('copy.db'));
    await push('b', range(21, 30));
    const first = read({ store: store() });
    await hasSeen(first, 'b30');
    await first.stop();
    // The transaction of the last event is committed, and the loop has not saved its place.
    written.cursor = first.seen[29]?.cursor;
    await putBack('c', range(21, 32));
    const second = read({ store: store() });
    await hasSeen(second, 'c32');
    const [verdict] = second.verdicts;
    assert.deepEqual([verdict?.code, verdict?.commonBy], ['ERR_CURSOR_DIVERGED', 'trail']);
    const from = verdict?.unproven?.from ?? NaN;
    assert.ok(from <= 21 && from > 1, `from ${from}`);
    assert.deepEqual(payloads(second), await logAfter(from - 1));
  });

  it('a store gets cursors, and not the words that answer a verdict', async () => {
    const saved: string[] = [];
    const store: CursorStore = {
      load: () => 'aaaaaaaa.1',
      save: (_, cursor) => void saved.push(cursor),
    };
    await push('a', [1, 2]);
    const reader = read({ store, onVerdict: () => 'start' });
    await hasSeen(reader, 'a2');
    await until(() => saved.includes(reader.seen[1]?.cursor ?? ''), 'the second cursor');
    assert.deepEqual(
      saved,
      reader.seen.map((event) => event.cursor),
    );
  });
});
