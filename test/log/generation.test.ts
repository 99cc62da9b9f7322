/** One history of the log after the other, over a store that the test holds: nothing passes between them (G13). */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { LastseenError } from '../../src/errors.ts';
import { type CursorFacts, cursorOf } from '../../src/log/cursor.ts';
import type { LogEvent } from '../../src/log/event.ts';
import { followFeed } from '../../src/log/follow.ts';
import { createLog, type Log } from '../../src/log/log.ts';
import { type Lineage, originOf, type Place, tagOf } from '../../src/log/place.ts';
import type { AppendResult, EventStore, History } from '../../src/log/store.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { until } from '../support/until.ts';

const PAGE = { maxEvents: 100, maxBytes: 1e6 };

/** An event as a store keeps it. Events of one term have one tag here. */
interface Stored {
  readonly term: number;
  readonly payload: string;
}

const term = (number: number, count: number, prefix: string): Stored[] =>
  Array.from({ length: count }, (_, index) => ({ term: number, payload: `"${prefix}${index + 1}"` }));

/** A store of one feed whose content the test replaces. */
function heldStore(): {
  readonly store: EventStore;
  events: Stored[];
  epoch: string;
  /** The next calls of `open` fail. */
  failures: number;
  /** Appends wait for this. */
  gate: Promise<void>;
  replace(events: Stored[]): void;
} {
  let endCurrent: () => void = () => undefined;
  let onWake: () => void = () => undefined;
  const held: ReturnType<typeof heldStore> = {
    events: [],
    epoch: 'epoch000',
    failures: 0,
    gate: Promise.resolve(),
    replace(events) {
      held.events = events;
      endCurrent();
    },
    store: {
      open() {
        if (held.failures > 0) {
          held.failures -= 1;
          return Promise.reject(new Error('no answer'));
        }
        const { history, end } = openHistory();
        endCurrent = end;
        return Promise.resolve(history);
      },
      onWake(wake) {
        onWake = wake;
        return () => undefined;
      },
      close: () => Promise.resolve(),
    },
  };

  function openHistory(): { history: History; end: () => void } {
    const lineage: Lineage = { epoch: held.epoch };
    const listeners = new Set<() => void>();
    const eventAt = ({ term: number, payload }: Stored, index: number): LogEvent => ({
      lineage,
      position: index + 1,
      tag: tagOf(number, 1),
      accessId: 'a',
      version: index + 1,
      createdAt: 0,
      recordedAt: 0,
      id: null,
      payload,
    });
    const all = (): LogEvent[] => held.events.map(eventAt);
    const lastPlace = (through = Infinity): Place =>
      all().findLast(({ position }) => position <= through) ?? originOf(lineage);
    const history: History = {
      lineage,
      head: lastPlace(),
      async append(requests): Promise<AppendResult> {
        await held.gate;
        const outcomes = requests.map(({ events }) => ({
          receipts: events.map(({ payload }) => {
            const stored = { term: 9, payload };
            held.events.push(stored);
            return { ...eventAt(stored, held.events.length - 1), duplicate: false };
          }),
        }));
        return { recordedAt: 0, outcomes };
      },
      bounds: () => Promise.resolve({ epoch: lineage.epoch, floor: 1, head: held.events.length }),
      readFeed: (_, position) =>
        Promise.resolve({
          events: all().filter((event) => event.position > position),
          through: held.events.length,
          pruned: originOf(lineage),
        }),
      readLog: (position) => Promise.resolve(all().filter((event) => event.position > position)),
      lastPlace: (_, through) => Promise.resolve(lastPlace(through)),
      firstSince: () => Promise.resolve(undefined),
      prunedThrough: () => Promise.resolve(originOf(lineage)),
      cursorFacts: (_, { position, tag = 0 }): Promise<CursorFacts> => {
        const terms = held.events.map((event) => event.term);
        const own = terms.lastIndexOf(Math.floor(tag / 2 ** 32));
        return Promise.resolve({
          lineage,
          head: held.events.length,
          taggedFrom: 1,
          tag: all()[position - 1]?.tag,
          marks: [],
          termEnd: own >= 0 && own < terms.length - 1 ? own + 1 : undefined,
        });
      },
      prune: () => Promise.resolve(0),
      onEnd(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      close: () => Promise.resolve(),
    };
    return {
      history,
      end: () => {
        [...listeners].forEach((listener) => {
          listener();
        });
        onWake();
      },
    };
  }

  return held;
}

const code =
  (expected: string) =>
  (error: unknown): boolean =>
    error instanceof LastseenError && error.code === expected;

describe('a log whose store turns out to hold another history', () => {
  let held: ReturnType<typeof heldStore>;
  let log: Log;
  let errors: unknown[];

  beforeEach(async () => {
    held = heldStore();
    held.events = term(1, 5, 'old ');
    errors = [];
    log = await createLog({
      store: held.store,
      runtime: systemRuntime,
      onError: (error) => errors.push(error),
    });
  });
  afterEach(() => log.close());

  it('G6: tries again until the next history stands, and requests meanwhile wait for it', async () => {
    const happenings: string[] = [];
    log.onEnd(() => happenings.push('ended'));
    log.onReplaced(() => happenings.push('replaced'));
    held.failures = 3;
    held.replace(term(2, 2, 'new '));
    assert.deepEqual(happenings, ['ended']);
    assert.equal((await log.bounds()).head, 2);
    assert.deepEqual(happenings, ['ended', 'replaced']);
    assert.equal(errors.length, 3);
    assert.equal(log.head.position, 2);
  });

  it('G13: a reader of the old history gets no event of the new one', async () => {
    const subscription = log.subscribe('a', await log.resolve('a', { after: 'start' }), () => undefined);
    held.replace(term(2, 9, 'new '));
    assert.throws(() => subscription.next(), code('ERR_LOG_REPLACED'));
    await log.bounds();
    assert.throws(() => subscription.next(), code('ERR_LOG_REPLACED'));
  });

  it('G13: a place that was resolved before the change opens no subscription after it', async () => {
    const place = await log.resolve('a', { after: 'now' });
    held.replace(term(2, 9, 'new '));
    await log.bounds();
    assert.throws(() => log.subscribe('a', place, () => undefined), code('ERR_LOG_REPLACED'));
    assert.throws(() => log.subscribeAll(['a', 'b'], place, () => undefined), code('ERR_LOG_REPLACED'));
  });

  it('G13: a page after a place of the old history is proven again', async () => {
    const shared = await log.resolve('a', { after: 'now' });
    held.replace([...term(1, 5, 'old '), ...term(2, 2, 'new ')]);
    const page = await log.read('a', shared, PAGE);
    assert.deepEqual(
      page.events.map(({ payload }) => payload),
      ['"new 1"', '"new 2"'],
    );
    const lost = page.events.at(-1) ?? assert.fail();
    held.replace([...term(1, 5, 'old '), ...term(3, 9, 'newer ')]);
    await assert.rejects(log.read('a', lost, PAGE), code('ERR_CURSOR_DIVERGED'));
  });

  it('G13: a refusal names what is common by the end of the term, or by the newest cursor of the trail', async () => {
    const cursors = held.events.map((_, index) =>
      cursorOf({ lineage: log.head.lineage, position: index + 1, tag: tagOf(1, 1) }),
    );
    held.replace([...term(1, 3, 'old '), ...term(2, 9, 'new ')]);
    await assert.rejects(
      log.resolve('a', { after: cursors[4] ?? '', trail: [cursors[0] ?? ''] }),
      (error) =>
        error instanceof LastseenError && error.common?.by === 'term' && error.common.cursor === cursors[2],
    );
    const unknown = cursorOf({ lineage: log.head.lineage, position: 8, tag: tagOf(7, 1) });
    await assert.rejects(
      log.resolve('a', {
        after: unknown,
        trail: [unknown, cursors[0] ?? '', cursors[1] ?? '', cursors[4] ?? ''],
      }),
      (error) =>
        error instanceof LastseenError && error.common?.by === 'trail' && error.common.cursor === cursors[1],
    );
    await assert.rejects(
      log.resolve('a', { after: unknown, trail: [] }),
      (error) => code('ERR_CURSOR_DIVERGED')(error) && (error as LastseenError).common === undefined,
    );
  });

  it('G2: a commit that is confirmed after the change does not move the new head', async () => {
    let open: () => void = () => undefined;
    held.gate = new Promise((resolve) => (open = resolve));
    const event = { accessId: 'a', createdAt: null, id: null, payload: '1' };
    const late = log.append({ events: [event], key: null });
    await new Promise((resolve) => setImmediate(resolve));
    held.replace(term(2, 2, 'new '));
    await log.bounds();
    const { lineage } = log.head;
    open();
    const [receipt] = await late;
    assert.notEqual(receipt?.lineage, lineage);
    assert.deepEqual([log.head.lineage === lineage, log.head.position], [true, 2]);
  });

  it('G10: a follower inside the process goes on after what both histories share', async () => {
    const heard: string[] = [];
    const stop = followFeed(log, {
      accessId: 'a',
      timers: systemRuntime.timers,
      onEvent: ({ payload }) => heard.push(payload),
      onFault: (error) => assert.fail(String(error)),
    });
    // Two events of its history are lost, and two others are there.
    held.replace([...term(1, 3, 'old '), ...term(2, 2, 'new ')]);
    await until(() => heard.length >= 2, 'the events of the new history');
    assert.deepEqual(heard, ['"new 1"', '"new 2"']);
    stop();
  });
});
