/** The SDK on a clock that the test holds: every wait, deadline and pause comes from the runtime. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createPublisherWith } from '../../src/client/publish/publisher.ts';
import { subscribeWith, type SubscriptionState } from '../../src/client/subscribe/subscription.ts';
import type { Fetch } from '../../src/client/subscribe/transport.ts';
import { createManualRuntime } from '../support/manual-runtime.ts';

const unreachable: Fetch = () => Promise.reject(new TypeError('fetch failed'));

/** Never answers; rejects when its signal aborts, as `fetch` does. */
const hanging: Fetch = (_url, { signal }) =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => {
      reject(new TypeError('aborted'));
    });
  });

const page = (events: readonly unknown[], cursor: string): Response =>
  Response.json({ access_id: 'a', events, cursor, caught_up: true });

const wireEvent = (version: number): unknown => ({
  cursor: `e.${version}`,
  access_id: 'a',
  version,
  created_at: 1,
  recorded_at: 1,
  payload: version,
});

describe('the publisher on a given runtime', () => {
  it('gathers a batch for maxDelayMs, and makes the ids of its events', async () => {
    const runtime = createManualRuntime();
    const bodies: string[] = [];
    const publisher = createPublisherWith(
      {
        url: 'http://server',
        maxDelayMs: 50,
        fetch: (_url, { body }) => {
          bodies.push(body as string);
          const receipt = { version: 1, cursor: 'e.1', duplicate: false };
          return Promise.resolve(Response.json({ events: [receipt, receipt] }));
        },
      },
      runtime,
    );
    const pushed = publisher.push([1, 2].map((payload) => ({ accessId: 'a', createdAt: 1, payload })));
    await runtime.advance(49);
    assert.deepEqual(bodies, []);
    await runtime.advance(1);
    assert.deepEqual(
      (JSON.parse(bodies.join()) as { id: string }[]).map(({ id }) => id),
      ['00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002'],
    );
    assert.deepEqual(
      (await pushed).map(({ ok }) => ok),
      [true, true],
    );
    await publisher.close();
    assert.equal(runtime.pendingTimers, 0);
  });

  it('pauses longer after each failure, and fails an event after giveUpAfterMs', async () => {
    const runtime = createManualRuntime();
    const attempts: number[] = [];
    const publisher = createPublisherWith(
      {
        url: 'http://server',
        maxDelayMs: 0,
        giveUpAfterMs: 1_000,
        fetch: (url, init) => {
          attempts.push(runtime.clock.steady());
          return unreachable(url, init);
        },
      },
      runtime,
    );
    const pushed = publisher.push({ accessId: 'a', createdAt: 1, payload: 1 });
    await runtime.advance(10_000);
    // Half of 400, 800 and 1,600 ms after one another.
    assert.deepEqual(attempts, [0, 200, 600, 1_400]);
    const [result] = await pushed;
    assert.equal(result?.ok === false && result.error.code, 'ERR_UNREACHABLE');
    assert.equal(runtime.pendingTimers, 0);
  });

  it('repeats a request that has no answer after requestTimeoutMs', async () => {
    const runtime = createManualRuntime();
    let requests = 0;
    const publisher = createPublisherWith(
      {
        url: 'http://server',
        maxDelayMs: 0,
        requestTimeoutMs: 5_000,
        fetch: (url, init) => {
          requests += 1;
          return hanging(url, init);
        },
      },
      runtime,
    );
    void publisher.push({ accessId: 'a', createdAt: 1, payload: 1 });
    await runtime.advance(4_999);
    assert.equal(requests, 1);
    await runtime.advance(1_000);
    assert.equal(requests, 2);
  });
});

describe('a subscription on a given runtime', () => {
  it('reconnects after silence and after a pause, and continues after the last event', async () => {
    const runtime = createManualRuntime();
    const stop = new AbortController();
    const asked: string[] = [];
    const seen: number[] = [];
    const states: SubscriptionState[] = [];
    const answers: Fetch[] = [
      () => Promise.resolve(page([wireEvent(1)], 'e.1')),
      hanging,
      () => Promise.resolve(page([wireEvent(2)], 'e.2')),
      hanging,
    ];
    const reading = (async () => {
      const events = subscribeWith(
        {
          url: 'http://server',
          accessId: 'a',
          after: 'start',
          transports: ['poll'],
          silenceMs: 1_000,
          signal: stop.signal,
          onState: (state) => states.push(state),
          fetch: (url, init) => {
            asked.push(new URL(url).searchParams.get('after') ?? '');
            return (answers.shift() ?? hanging)(url, init);
          },
        },
        runtime,
      );
      for await (const { version } of events) {
        seen.push(version);
      }
    })();
    // The poll itself waits 25 s, and silence counts from then.
    await runtime.advance(25_999);
    assert.deepEqual([seen, asked], [[1], ['start', 'e.1']]);
    await runtime.advance(1);
    assert.deepEqual(states.at(-1), {
      name: 'waiting',
      reason: 'the server could not be reached',
      pauseMs: 200,
    });
    await runtime.advance(200);
    assert.deepEqual(
      [seen, asked],
      [
        [1, 2],
        ['start', 'e.1', 'e.1', 'e.2'],
      ],
    );
    stop.abort();
    await reading;
    assert.equal(states.at(-1)?.name, 'closed');
    assert.equal(runtime.pendingTimers, 0);
  });
});
