/** The subscription of the SDK on a log that really loses events: an older copy of the SQLite files is put back. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import {
  type ClientError,
  cursorFrom,
  type CursorStore,
  localStorageStore,
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

describe('a log that loses events', () => {
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

  /** Pushes events of the feed one by one, with events of another feed between them. */
  async function push(label: string, versions: readonly number[]): Promise<void> {
    for (const version of versions) {
      await service.push({ accessid: 'a', created_at: 1, payload: `${label}${version}` });
      await service.push({ accessid: 'other', created_at: 1, payload: version });
    }
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
    await push(label, versions);
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
            return options.onVerdict?.(verdict) ?? 'common';
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
      common: ({ common }) => common ?? 'throw',
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
      const from = name === 'common' ? 4 : 0;
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

  describe('after a restart of the reader', () => {
    /** A reader that sees lost events, ends, and comes back with the same store after the loss. */
    async function readAcrossLoss(makeStore: () => CursorStore): Promise<Reader> {
      await push('a', range(1, 20));
      await restart();
      copyLog(file('log.db'), file('copy.db'));
      await push('b', range(21, 30));
      const first = read({ store: makeStore() });
      await hasSeen(first, 'b30');
      // The store has the cursor of an event once the loop asks for the next one.
      await until(async () => {
        const { events } = await service.page('a');
        return (await makeStore().load('a')) === events.at(-1)?.cursor;
      }, 'the cursor in the store');
      await first.stop();
      await putBack('c', range(21, 32));
      const second = read({ store: makeStore() });
      await hasSeen(second, 'c32');
      return second;
    }

    function memoryStorage(): {
      getItem(key: string): string | null;
      setItem(key: string, value: string): void;
    } {
      const items = new Map<string, string>();
      return {
        getItem: (key) => items.get(key) ?? null,
        setItem: (key, value) => {
          items.set(key, value);
        },
      };
    }

    it('G13: a file keeps the trail with the cursor', async () => {
      const reader = await readAcrossLoss(() => fileStore(file('cursors.json'), { maxLagMs: 0 }));
      const { unproven } = reader.verdicts[0] ?? {};
      assert.ok(
        unproven !== undefined && unproven.from <= 21 && unproven.from >= 17,
        JSON.stringify(unproven),
      );
      assert.equal(unproven.through, 30);
      assert.deepEqual(payloads(reader), await logAfter(unproven.from - 1));
    });

    it('G13: localStorage keeps the trail with the cursor', async () => {
      const storage = memoryStorage();
      const reader = await readAcrossLoss(() => localStorageStore('p:', storage));
      assert.equal(reader.verdicts[0]?.unproven?.through, 30);
      assert.deepEqual(payloads(reader), await logAfter(reader.verdicts[0].unproven.from - 1));
    });

    it('G13: an application that writes its cursor itself can keep the trail in any store', async () => {
      let cursor: string | undefined;
      const trails = memoryStorage();
      const store = cursorFrom(() => cursor, localStorageStore('trail:', trails));
      const saving: CursorStore = {
        ...store,
        save: (_, text) => {
          cursor = text;
        },
      };
      const reader = await readAcrossLoss(() => saving);
      assert.equal(reader.verdicts[0]?.unproven?.through, 30);
      assert.deepEqual(payloads(reader), await logAfter(reader.verdicts[0].unproven.from - 1));
    });

    it('a store of the application that knows cursors only works as before: the floor is left', async () => {
      const cursors = new Map<string, string>();
      const plain: CursorStore = {
        load: (accessId) => cursors.get(accessId),
        save: (accessId, cursor) => void cursors.set(accessId, cursor),
      };
      const verdicts: ClientError[] = [];
      await push('a', range(1, 3));
      await restart();
      copyLog(file('log.db'), file('copy.db'));
      await push('b', [4]);
      const first = read({ store: plain });
      await hasSeen(first, 'b4');
      await until(
        async () => cursors.get('a') === (await service.page('a')).events.at(-1)?.cursor,
        'the cursor',
      );
      await first.stop();
      await putBack('c', [4, 5]);
      const second = read({
        store: plain,
        onVerdict(verdict) {
          verdicts.push(verdict);
          return verdict.common ?? 'floor';
        },
      });
      await hasSeen(second, 'c5');
      assert.deepEqual(
        verdicts.map(({ code, common, unproven }) => [code, common, unproven]),
        [['ERR_CURSOR_DIVERGED', undefined, undefined]],
      );
      assert.deepEqual(payloads(second), await logAfter(0));
    });
  });
});
