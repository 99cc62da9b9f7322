/** Sessions by the clock: the hub's beat, held by the test, over a wire that does as it is told. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { type CloseReason, type Connection, HIGH_WATER_BYTES } from '../../src/delivery/connection.ts';
import type { FeedEncoder } from '../../src/delivery/feed.ts';
import { createHub, type Hub } from '../../src/delivery/hub.ts';
import { createPageSession } from '../../src/delivery/page-session.ts';
import { createSession, MAX_SUBSCRIPTIONS, type Session } from '../../src/delivery/session.ts';
import { ADMIN } from '../../src/identity/principal.ts';
import type { LogEvent } from '../../src/log/event.ts';
import type { Log } from '../../src/log/log.ts';
import type { Place } from '../../src/log/place.ts';
import { systemRuntime } from '../../src/system-runtime.ts';

const STALL_MS = 300_000;

interface TestWire extends Connection {
  readonly written: string[];
  readonly closed: CloseReason[];
  pings: number;
  buffered: number;
  flushed: number;
}

function testWire(): TestWire {
  const wire: TestWire = {
    gateway: 'test',
    canPong: true,
    written: [],
    closed: [],
    pings: 0,
    buffered: 0,
    flushed: 0,
    write: (frame) => wire.written.push(Buffer.from(frame).toString()),
    get bufferedBytes() {
      return wire.buffered;
    },
    get isFull() {
      return wire.buffered >= HIGH_WATER_BYTES;
    },
    get flushedBytes() {
      return wire.flushed;
    },
    onDrain: () => undefined,
    ping: () => (wire.pings += 1),
    close: (reason) => wire.closed.push(reason),
  };
  return wire;
}

/** A log in which nothing happens. */
const silentLog = {
  head: { position: 7 },
  subscribe: (accessId: string, place: Place) => ({
    accessId,
    place,
    isLive: true,
    next: () => undefined,
    close: () => undefined,
  }),
} as unknown as Log;

const silent: FeedEncoder = { events: () => undefined, live: () => undefined };

describe('a session at the health check of the hub', () => {
  let hub: Hub;
  let wire: TestWire;
  let session: Session;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setInterval', 'setTimeout', 'Date'] });
    hub = createHub(systemRuntime);
    wire = testWire();
    session = createSession({
      log: silentLog,
      connection: wire,
      principal: ADMIN,
      runtime: systemRuntime,
      heartbeat: (places) =>
        Buffer.from(JSON.stringify([...places].map(([name, { position }]) => [name, position]))),
      stallTimeoutMs: STALL_MS,
      onFault: (error) => {
        throw error;
      },
    });
    hub.add(session);
    session.subscribe({
      accessId: 'a',
      after: { lineage: { epoch: 'epoch000' }, position: 5, tag: 0 },
      encoder: silent,
    });
  });
  afterEach(() => {
    hub.stop();
    mock.timers.reset();
  });

  /** Second by second, so that timers see the clock as it goes. */
  function pass(seconds: number): void {
    for (let second = 0; second < seconds; second += 1) {
      mock.timers.tick(1_000);
    }
  }

  it('is sent a heartbeat with its cursors and a ping at least every 25 s', () => {
    for (let round = 1; round <= 10; round += 1) {
      pass(25);
      session.markAlive();
      assert.ok(wire.written.length >= round, `round ${round}`);
      assert.ok(wire.pings >= round);
    }
    assert.equal(wire.written[0], '[["a",5]]');
    assert.deepEqual(wire.closed, []);
  });

  it('is closed with no-pong when two pings have gone unanswered, and not before', () => {
    pass(48);
    assert.equal(wire.pings, 2);
    assert.deepEqual(wire.closed, []);
    pass(24);
    assert.deepEqual(wire.closed, ['no-pong']);
  });

  it('G7: is closed with stalled when the wire has taken nothing for the whole time, and not before', () => {
    wire.buffered = 1_000;
    pass(STALL_MS / 1_000 - 24);
    assert.deepEqual(wire.closed, []);
    assert.equal(wire.written.length, 0, 'nothing is piled on a wire that takes nothing');
    pass(72);
    assert.equal(wire.closed[0], 'stalled');
  });

  it('G7: goes on as long as the wire takes anything at all, however slowly', () => {
    wire.buffered = 1_000;
    for (let round = 0; round < 40; round += 1) {
      wire.flushed += 1;
      pass(24);
    }
    assert.deepEqual(wire.closed, []);
  });

  it('G7: a page whose answer is not read is closed with stalled like a session', () => {
    const answer = testWire();
    const page = createPageSession({
      connection: answer,
      principal: ADMIN,
      accessId: 'a',
      place: { lineage: { epoch: 'epoch000' }, position: 5, tag: 0 },
      headAtStart: 7,
      stallTimeoutMs: STALL_MS,
      runtime: systemRuntime,
    });
    hub.add(page);
    assert.equal(hub.countOf(ADMIN.subject), 2);
    answer.buffered = 1_000;
    pass(STALL_MS / 1_000 - 24);
    assert.deepEqual(answer.closed, []);
    pass(72);
    assert.equal(answer.closed[0], 'stalled');
    hub.remove(page);
    assert.ok(page.signal.aborted, 'what the page waits for has ended');
    assert.equal(hub.countOf(ADMIN.subject), 1);
  });

  it('a page whose token expires ends with ERR_UNAUTHENTICATED', () => {
    const page = createPageSession({
      connection: testWire(),
      principal: { ...ADMIN, expiresAt: Date.now() + 10_000 },
      accessId: 'a',
      place: { lineage: { epoch: 'epoch000' }, position: 5, tag: 0 },
      headAtStart: 7,
      stallTimeoutMs: STALL_MS,
      runtime: systemRuntime,
    });
    pass(9);
    page.requireToken();
    pass(1);
    assert.throws(page.requireToken, { code: 'ERR_UNAUTHENTICATED' });
    page.dispose();
  });

  it('a session that was removed is not looked at again', () => {
    hub.remove(session);
    pass(200);
    assert.deepEqual([wire.written, wire.pings, wire.closed], [[], 0, []]);
  });
});

describe('G7: the reads of a session, over all its feeds', () => {
  const PAGE_BYTES = 100_000;
  const START: Place = { lineage: { epoch: 'epoch000' }, position: 0, tag: 0 };

  /** Feeds whose pages the test hands out, and a wire that accepts nothing until the test says so. */
  function harness(): {
    readonly session: Session;
    readonly reads: string[];
    readonly written: string[];
    answer(): Promise<void>;
    drain(): void;
  } {
    const reads: string[] = [];
    const answers: (() => void)[] = [];
    const drains: (() => void)[] = [];
    const wire = testWire();
    const log = {
      head: START,
      subscribe: (accessId: string, place: Place) => ({
        place,
        isLive: false,
        next: () => {
          reads.push(accessId);
          return new Promise((resolve) => {
            answers.push(() => {
              resolve([{ accessId } as LogEvent]);
            });
          });
        },
        close: () => undefined,
      }),
    } as unknown as Log;
    const connection: Connection = {
      ...wire,
      write(frame) {
        wire.written.push(Buffer.from(frame).toString().trimEnd());
        wire.buffered += PAGE_BYTES;
      },
      get bufferedBytes() {
        return wire.buffered;
      },
      get isFull() {
        return wire.buffered >= HIGH_WATER_BYTES;
      },
      onDrain: (listener) => drains.push(listener),
    };
    const session = createSession({
      log,
      connection,
      principal: ADMIN,
      runtime: systemRuntime,
      heartbeat: () => undefined,
      stallTimeoutMs: STALL_MS,
      onFault: (error) => {
        throw error;
      },
    });
    return {
      session,
      reads,
      written: wire.written,
      async answer() {
        answers.shift()?.();
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      },
      drain() {
        wire.buffered = 0;
        for (const listener of drains) {
          listener();
        }
      },
    };
  }

  const encoder: FeedEncoder = {
    events: ([event]) => Buffer.from(event?.accessId ?? ''),
    live: () => undefined,
  };

  it('one page is read at a time, and none while the buffer is full', async () => {
    const { session, reads, written, answer } = harness();
    for (let feed = 0; feed < MAX_SUBSCRIPTIONS; feed += 1) {
      session.subscribe({ accessId: `feed-${feed}`, after: START, encoder });
    }
    assert.equal(reads.length, 1, 'one page is being read');
    for (let round = 0; round < 10; round += 1) {
      await answer();
    }
    assert.equal(written.length * PAGE_BYTES, Math.ceil(HIGH_WATER_BYTES / PAGE_BYTES) * PAGE_BYTES);
    assert.equal(reads.length, written.length, 'no page waits behind the full buffer');
    session.dispose();
  });

  it('the feeds take turns', async () => {
    const { session, written, answer, drain } = harness();
    for (const accessId of ['a', 'b', 'c']) {
      session.subscribe({ accessId, after: START, encoder });
    }
    for (let round = 0; round < 9; round += 1) {
      drain();
      await answer();
    }
    assert.deepEqual(written.join(''), 'abcabcabc');
    session.dispose();
  });

  it('a page that is read for a feed which has ended makes room for the next feed', async () => {
    const { session, written, answer } = harness();
    session.subscribe({ accessId: 'a', after: START, encoder });
    session.subscribe({ accessId: 'b', after: START, encoder });
    session.unsubscribe('a');
    await answer();
    await answer();
    assert.equal(written[0], 'b');
    session.dispose();
  });
});
