/** The contract of an engine, as tests of the promises. Both engines run it. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LastseenError } from '../../src/errors.ts';
import { cursorOf } from '../../src/log/cursor.ts';
import type { LogEvent, NewEvent } from '../../src/log/event.ts';
import { createLog, type Log } from '../../src/log/log.ts';
import { originOf, type Place, termOf } from '../../src/log/place.ts';
import type { EventStore, Receipt } from '../../src/log/store.ts';
import { systemRuntime } from '../../src/system-runtime.ts';

/** An engine over an empty database of its own. */
export interface EngineUnderTest {
  /** The store that is open now. */
  store(): EventStore;
  /** Closes the store and opens the same database again, as a restart does. */
  reopen(): Promise<EventStore>;
  close(): Promise<void>;
}

const PAGE = { maxEvents: 1_000, maxBytes: 1_000_000 };

/** Payloads that parsing and printing again would change. */
export const PAYLOADS: readonly string[] = [
  '9007199254740993',
  '-0',
  '1.0',
  '1e400',
  '1E-7',
  '123456789012345678901234567890.10',
  '{"a":1,"a":2}',
  '{"z":1,"a":2,"10":3,"9":4}',
  '{"__proto__":{"x":1},"constructor":null}',
  '"\\u0000"',
  '"\\ud800"',
  '"\\u00e9 é \\/ \\" \\\\ \u2028"',
  '"  two  spaces  "',
  '""',
  '{}',
  '[]',
  'null',
  'false',
  '0',
  '{"payload":{"payload":[1,{"payload":"]}"}]}}',
  '"😀"',
];

export function event(accessId: string, payload: unknown, attributes: Partial<NewEvent> = {}): NewEvent {
  return { accessId, createdAt: 0, id: null, payload: JSON.stringify(payload), ...attributes };
}

/** The whole feed, in pages. */
export async function readAll(
  log: Pick<Log, 'read' | 'head'>,
  accessId: string,
  from: Place = originOf(log.head.lineage),
  limit = PAGE,
): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  let place = from;
  for (;;) {
    const page = await log.read(accessId, place, limit);
    events.push(...page.events);
    const last = page.events.at(-1);
    if (last === undefined) {
      return events;
    }
    assert.ok(last.position > place.position, 'a page moves forward');
    place = last;
  }
}

/** The place alone of an event or a receipt, whose epoch is named instead of its lineage. */
function placeOf(place: Place = assert.fail()): unknown {
  const { lineage, position, tag } = place;
  return { lineage, position, tag };
}

/** The receipts alone, without the events that they came with. */
export function receiptsOf(receipts: readonly Receipt[]): Receipt[] {
  return receipts.map(({ lineage, position, tag, version, duplicate }) => ({
    lineage,
    position,
    tag,
    version,
    duplicate,
  }));
}

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof LastseenError && error.code === expected;
}

export function storeContract(name: string, open: () => Promise<EngineUnderTest>): void {
  describe(`${name} keeps the contract`, () => {
    let engine: EngineUnderTest;
    let log: Log;

    before(async () => {
      engine = await open();
      log = await createLog({ store: engine.store(), runtime: systemRuntime });
    });
    after(async () => {
      await engine.close();
    });

    async function restart(): Promise<void> {
      log = await createLog({ store: await engine.reopen(), runtime: systemRuntime });
    }

    const origin = (): Place => originOf(log.head.lineage);

    async function push(...events: NewEvent[]): ReturnType<Log['append']> {
      return log.append({ events, key: null });
    }

    it('G2: positions and versions have no holes, however many push at once', async () => {
      const before = (await log.bounds()).head;
      const pushes = Array.from({ length: 64 }, (_, at) =>
        push(event(`g2-${at % 5}`, at), event('g2-all', at), event(`g2-${at % 5}`, at)),
      );
      const receipts = (await Promise.all(pushes)).flat();
      const positions = receipts.map((receipt) => receipt.position).sort((a, b) => a - b);
      assert.deepEqual(
        positions,
        Array.from({ length: 192 }, (_, at) => before + at + 1),
      );
      for (const feed of ['g2-0', 'g2-1', 'g2-2', 'g2-3', 'g2-4', 'g2-all']) {
        const events = await readAll(log, feed);
        assert.deepEqual(
          events.map(({ version }) => version),
          events.map((_, at) => at + 1),
        );
      }
    });

    it('G4: one refused event refuses its batch, and not its neighbours in the same commit', async () => {
      await push(event('g4', 'first', { id: 'a' }));
      const { head } = await log.bounds();
      const [good, bad, after] = await Promise.allSettled([
        push(event('g4', 'before')),
        push(event('g4', 'new'), event('g4', 'other content', { id: 'a' }), event('g4-new', 'new')),
        push(event('g4', 'after')),
      ]);
      assert.equal(good.status, 'fulfilled');
      assert.equal(after.status, 'fulfilled');
      assert.equal(bad.status, 'rejected');
      assert.ok(code('ERR_ID_CONFLICT')(bad.reason));
      assert.equal((bad.reason as LastseenError).faults[0]?.pointer, '/1/id');
      assert.equal((await log.bounds()).head, head + 2);
      assert.equal((await readAll(log, 'g4-new')).length, 0);
      assert.deepEqual(
        (await readAll(log, 'g4')).map(({ version }) => version),
        [1, 2, 3],
      );
    });

    it('G5: an id repeated with the same content is acknowledged with its first place, also after a restart', async () => {
      const [first] = receiptsOf(await push(event('g5', { a: 1 }, { id: 'x', createdAt: 7 })));
      assert.deepEqual(receiptsOf(await push(event('g5', { a: 1 }, { id: 'x', createdAt: 7 }))), [
        { ...first, duplicate: true },
      ]);
      await restart();
      assert.deepEqual(receiptsOf(await push(event('g5', { a: 1 }, { id: 'x', createdAt: 7 }))), [
        { ...first, duplicate: true },
      ]);
      await assert.rejects(push(event('g5', { a: 1 }, { id: 'x', createdAt: 8 })), code('ERR_ID_CONFLICT'));
      await assert.rejects(push(event('g5', { a: 2 }, { id: 'x', createdAt: 7 })), code('ERR_ID_CONFLICT'));
      const [elsewhere] = await push(event('g5-other', { a: 2 }, { id: 'x' }));
      assert.equal(elsewhere?.duplicate, false);
    });

    it('G5: an id that stands twice in one batch is one event, or a conflict', async () => {
      const receipts = await push(
        event('twin', 1, { id: 't' }),
        event('twin', 2),
        event('twin', 1, { id: 't' }),
      );
      assert.deepEqual(
        receipts.map((receipt) => receipt.version),
        [1, 2, 1],
      );
      assert.deepEqual(
        receipts.map((receipt) => receipt.duplicate),
        [false, false, true],
      );
      await assert.rejects(
        push(event('twin', 1, { id: 'u' }), event('twin', 2, { id: 'u' })),
        code('ERR_ID_CONFLICT'),
      );
      assert.equal((await readAll(log, 'twin')).length, 2);
      // One of the two leaves the time to the log: it is the same event.
      const timeless = await push(
        event('twin', 3, { id: 'v', createdAt: null }),
        event('twin', 3, { id: 'v', createdAt: 5 }),
      );
      assert.deepEqual(
        timeless.map((receipt) => receipt.version),
        [3, 3],
      );
    });

    it('G5: a batch under a key is repeatable; another batch under it is refused', async () => {
      const batch = {
        events: [event('key', 1), event('key', 2, { id: 'k' })],
        key: { value: 'K', fingerprint: 'f1' },
      };
      const first = receiptsOf(await log.append(batch));
      await restart();
      assert.deepEqual(
        receiptsOf(await log.append(batch)),
        first.map((receipt) => ({ ...receipt, duplicate: true })),
      );
      await assert.rejects(
        log.append({ ...batch, key: { value: 'K', fingerprint: 'f2' } }),
        code('ERR_ID_CONFLICT'),
      );
      assert.equal((await readAll(log, 'key')).length, 2);
    });

    it('G9: the payload comes out as the text that went in', async () => {
      await log.append({ events: PAYLOADS.map((payload) => event('g9', 0, { payload })), key: null });
      assert.deepEqual(
        (await readAll(log, 'g9')).map(({ payload }) => payload),
        PAYLOADS,
      );
    });

    it('G11: equal, late and absurd times never change what a cursor gives', async () => {
      const times = [0, -1, 2 ** 53 - 1, -(2 ** 53 - 1), 5, 5, 4, 0];
      await log.append({ events: times.map((createdAt, at) => event('g11', at, { createdAt })), key: null });
      assert.deepEqual(
        (await readAll(log, 'g11', origin(), { maxEvents: 3, maxBytes: 1e6 })).map(
          ({ createdAt }) => createdAt,
        ),
        times,
      );
      const many = Array.from({ length: 1_000 }, (_, at) => event('g11-equal', at, { createdAt: 42 }));
      await log.append({ events: many, key: null });
      const read = await readAll(log, 'g11-equal', origin(), { maxEvents: 7, maxBytes: 1e6 });
      assert.deepEqual(
        read.map(({ version }) => version),
        many.map((_, at) => at + 1),
      );
    });

    it('G11: a time chooses the place before the first event at or after it', async () => {
      const receipts = await log.append({
        events: [10, 30, 20, 40].map((createdAt) => event('start', createdAt, { createdAt })),
        key: null,
      });
      const before = (index: number): number => receipts[index - 1]?.position ?? 0;
      const startAt = async (createdAt: number): Promise<number> =>
        (await log.resolve('start', { createdAt })).position;
      assert.equal(await startAt(5), 0);
      assert.equal(await startAt(20), before(1));
      assert.equal(await startAt(31), before(3));
      assert.equal(await startAt(41), receipts.at(-1)?.position);
    });

    it('G7: a page is bounded in events and in bytes, and never empty when there is an event', async () => {
      const big = 'x'.repeat(50_000);
      await log.append({ events: Array.from({ length: 20 }, () => event('big', big)), key: null });
      const page = await log.read('big', origin(), { maxEvents: 100, maxBytes: 300_000 });
      assert.ok(page.events.length >= 1 && page.events.length <= 3);
      assert.equal((await log.read('big', origin(), { maxEvents: 100, maxBytes: 1 })).events.length, 1);
      assert.equal((await readAll(log, 'big', origin(), { maxEvents: 100, maxBytes: 1 })).length, 20);
    });

    it('G6: a cursor that cannot be honoured is refused with its reason and the floor', async () => {
      const { epoch, head } = await log.bounds();
      const verdict = async (after: string): Promise<string> => {
        const error = await log.resolve('any', { after }).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        assert.ok(error instanceof LastseenError);
        assert.equal(error.floor, cursorOf(origin()));
        return error.code;
      };
      for (const text of [
        '',
        'x',
        '1',
        `${epoch}.`,
        `${epoch}.01`,
        `${epoch}.-1`,
        `${epoch}.zzzzzzzzzzzzzz`,
        ` ${cursorOf(origin())}`,
        `${cursorOf(origin())}\n`,
        `${epoch}.1.2.0.zzzzzzzzzzz`,
        `${epoch}.1.2.1.1`,
        `${epoch}.1.3.0.1`,
      ]) {
        assert.equal(await verdict(text), 'ERR_CURSOR_MALFORMED', JSON.stringify(text));
      }
      assert.equal(await verdict('aaaaaaaa.1'), 'ERR_CURSOR_EPOCH');
      assert.equal(await verdict(`${epoch}.${(head + 1).toString(36)}`), 'ERR_CURSOR_AHEAD');
      assert.equal(await verdict(cursorOf({ ...log.head, position: head + 1 })), 'ERR_CURSOR_DIVERGED');
      assert.deepEqual(await log.resolve('any', { after: cursorOf(log.head) }), placeOf(log.head));
    });

    it('G2, G3: a feed is whole before, while and after its index is written, dense or sparse, and after a restart', async () => {
      const rounds = 75;
      for (let round = 0; round < rounds; round += 1) {
        const events = Array.from({ length: 1_000 }, (_, at) => event('dense', at));
        events.push(event('sparse', round));
        await log.append({ events, key: null });
        if (round % 15 === 0) {
          assert.equal((await readAll(log, 'sparse')).length, round + 1);
        }
      }
      const check = async (): Promise<void> => {
        for (const [feed, count] of [
          ['dense', rounds * 1_000],
          ['sparse', rounds],
        ] as const) {
          const events = await readAll(log, feed);
          assert.equal(events.length, count);
          assert.ok(events.every((event, index) => event.version === index + 1 && event.accessId === feed));
          assert.ok(
            events.every(
              ({ position }, index) => index === 0 || position > (events[index - 1]?.position ?? 0),
            ),
          );
          assert.deepEqual(await log.lastPlace(feed), placeOf(events.at(-1)));
          const middle = events[Math.floor(count / 2)] ?? assert.fail();
          assert.deepEqual(
            await readAll(log, feed, middle),
            events.filter(({ position }) => position > middle.position),
          );
          const time = await log.resolve(feed, { createdAt: 0 });
          assert.equal(time.position, 0);
        }
      };
      await check();
      await restart();
      await check();
      const [next] = await push(event('dense', 'next'));
      assert.equal(next?.version, rounds * 1_000 + 1);
    });

    it('G6: what retention has given up is refused, and positions and versions never restart', async () => {
      const [first = assert.fail()] = await push(event('pruned', 0));
      const [second = assert.fail(), third = assert.fail()] = await push(
        event('pruned', 1),
        event('pruned', 2),
      );
      const head = third.position;
      await log.prune({ through: head - 1 });
      assert.deepEqual(await log.bounds(), { epoch: (await log.bounds()).epoch, floor: head, head });
      assert.deepEqual(await log.resolve('pruned', { after: cursorOf(second) }), placeOf(second));
      const tooOld = await log.resolve('pruned', { after: cursorOf(first) }).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      assert.ok(code('ERR_CURSOR_TOO_OLD')(tooOld));
      assert.equal((tooOld as LastseenError).floor, cursorOf(second));
      assert.deepEqual(
        (await readAll(log, 'pruned', await log.resolve('pruned', { after: cursorOf(second) }))).map(
          ({ version }) => version,
        ),
        [3],
      );
      await log.prune({ through: head });
      await restart();
      assert.deepEqual(await log.resolve('pruned', { after: cursorOf(third) }), placeOf(third));
      const [next] = await push(event('pruned', 3));
      assert.deepEqual([next?.position, next?.version], [head + 1, 4]);
    });

    it('G13: a cursor with another tag is refused, and the row or the mark of its own feed proves it', async () => {
      const [first = assert.fail()] = await push(event('proven', 1));
      const [second = assert.fail()] = await push(event('proven', 2));
      const [other = assert.fail()] = await push(event('proven-other', 1));
      assert.notEqual(first.tag, second.tag);
      const check = async (): Promise<void> => {
        for (const place of [first, second, other]) {
          const forged = cursorOf({ ...place, tag: place.tag + 1 });
          await assert.rejects(log.resolve('proven', { after: forged }), code('ERR_CURSOR_DIVERGED'));
          const firstForm = cursorOf(place).split('.').slice(0, 2).join('.');
          await assert.rejects(log.resolve('proven', { after: firstForm }), code('ERR_CURSOR_DIVERGED'));
        }
      };
      await check();
      for (const place of [first, second, other]) {
        assert.deepEqual(await log.resolve('proven', { after: cursorOf(place) }), placeOf(place));
      }
      assert.deepEqual(await log.resolve('proven', { after: 'now' }), placeOf(second));
      await restart();
      await check();
      assert.deepEqual(await log.resolve('proven', { after: cursorOf(second) }), placeOf(second));
      // Both events of the feed are deleted: the mark proves the second, and nothing proves the first.
      await log.prune({ through: second.position });
      assert.deepEqual(await log.resolve('proven', { after: cursorOf(second) }), placeOf(second));
      await assert.rejects(log.resolve('proven', { after: cursorOf(first) }), code('ERR_CURSOR_TOO_OLD'));
      const forged = cursorOf({ ...second, tag: second.tag + 1 });
      await assert.rejects(log.resolve('proven', { after: forged }), code('ERR_CURSOR_DIVERGED'));
      await restart();
      assert.deepEqual(await log.resolve('proven', { after: cursorOf(second) }), placeOf(second));
    });

    it('G13: every event of a commit has its tag, and a process that starts opens a term', async () => {
      const receipts = await push(event('tags-a', 1), event('tags-b', 1));
      assert.equal(new Set(receipts.map(({ tag }) => tag)).size, 1);
      const read = await readAll(log, 'tags-a');
      assert.equal(read[0]?.tag, receipts[0]?.tag);
      const term = termOf(receipts[0]?.tag ?? 0);
      assert.ok(term > 0);
      assert.equal(termOf((await push(event('tags-a', 2)))[0]?.tag ?? 0), term);
      await restart();
      assert.notEqual(termOf((await push(event('tags-a', 3)))[0]?.tag ?? 0), term);
    });

    it('G6: retention by count keeps the latest of each access_id, and each feed has its own verdict', async () => {
      for (let n = 1; n <= 30; n += 1) {
        await push(event('many', n), event('few', n), event('many', n + 0.5));
      }
      await push(event('few', 'last'));
      const quiet = (await push(event('quiet', 1)))[0]?.position ?? 0;
      const before = await readAll(log, 'many', await log.resolve('many', { after: 'start' }));
      assert.ok((await log.prune({ keepPerAccessId: 10 })) >= 71);
      assert.equal(await log.prune({ keepPerAccessId: 10 }), 0);
      const start = await log.resolve('many', { after: 'start' });
      const kept = await readAll(log, 'many', start);
      assert.deepEqual(kept, before.slice(-10));
      assert.deepEqual(
        (await readAll(log, 'few', await log.resolve('few', { after: 'start' }))).map(
          ({ version }) => version,
        ),
        [22, 23, 24, 25, 26, 27, 28, 29, 30, 31],
      );
      const lost = before.at(-11) ?? assert.fail();
      const earlier = before.at(-12) ?? assert.fail();
      assert.deepEqual(await log.resolve('many', { after: cursorOf(lost) }), placeOf(lost));
      await assert.rejects(log.resolve('many', { after: cursorOf(earlier) }), code('ERR_CURSOR_TOO_OLD'));
      await assert.rejects(log.read('many', earlier, PAGE), code('ERR_CURSOR_TOO_OLD'));
      // What others have lost does not concern a feed that has lost nothing.
      const quietStart = await log.resolve('quiet', { after: 'start' });
      assert.equal((await readAll(log, 'quiet', quietStart))[0]?.position, quiet);
      await restart();
      const [next] = await push(event('many', 'next'));
      assert.equal(next?.version, 61);
      assert.equal(
        (await readAll(log, 'many', await log.resolve('many', { after: cursorOf(start) }))).length,
        11,
      );
    });

    it('G6: retention by age forgets what was recorded before, in order, while pushes go on', async () => {
      await log.append({ events: Array.from({ length: 2_500 }, (_, at) => event('aged', at)), key: null });
      const [last = assert.fail()] = await push(event('aged', 'last old'));
      const cutoff = Date.now() + 1;
      while (Date.now() < cutoff) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      await push(event('aged', 'young'));
      const over = new AbortController();
      const pushing = (async () => {
        let count = 0;
        while (!over.signal.aborted) {
          await push(event('meanwhile', count));
          count += 1;
        }
        return count;
      })();
      assert.ok((await log.prune({ recordedBefore: cutoff })) >= 2_501);
      over.abort();
      const pushed = await pushing;
      assert.equal((await log.bounds()).floor, last.position + 1);
      assert.deepEqual(
        (await readAll(log, 'aged', last)).map(({ payload }) => payload),
        ['"young"'],
      );
      assert.equal(
        (await readAll(log, 'meanwhile', await log.resolve('meanwhile', { after: 'start' }))).length,
        pushed,
      );
    });

    it('G3, G6: a reader that retention overtakes is told, and one at the end is not disturbed', async () => {
      const receipts = await log.append({
        events: Array.from({ length: 20 }, (_, at) => event('overtaken', at)),
        key: null,
      });
      await restart();
      const placeAgain = (receipt: Place | undefined): Promise<Place> =>
        log.resolve('overtaken', { after: cursorOf(receipt ?? assert.fail()) });
      const first = await placeAgain(receipts[0]);
      const last = await placeAgain(receipts.at(-1));
      const slow = log.subscribe('overtaken', first, () => undefined);
      const current = log.subscribe('overtaken', last, () => undefined);
      await log.prune({ keepPerAccessId: 5 });
      await assert.rejects(async () => slow.next(), code('ERR_CURSOR_TOO_OLD'));
      assert.equal(await current.next(), undefined);
      await push(event('overtaken', 'more'));
      assert.deepEqual(
        (await current.next())?.map(({ version }) => version),
        [21],
      );
      slow.close();
      current.close();
    });
  });
}
