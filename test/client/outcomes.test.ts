/** The publisher and what it knows: appended, not appended, or not known. A scripted server loses its answers. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  createPublisherWith,
  type PublisherOptions,
  type PushResult,
} from '../../src/client/publish/publisher.ts';
import { createManualRuntime } from '../support/manual-runtime.ts';
import { until } from '../support/until.ts';
import { type FakeLog, type PushStep, startFakeLog } from './fake-log.ts';

interface Played {
  readonly results: readonly PushResult[];
  readonly log: FakeLog;
  readonly pausesMs: number;
}

/** Pushes two events to a server with this script. The test holds the clock of the publisher. */
async function play(script: readonly PushStep[], options: Partial<PublisherOptions> = {}): Promise<Played> {
  const runtime = createManualRuntime();
  const log = await startFakeLog(script);
  try {
    const publisher = createPublisherWith(
      { url: log.url, token: 'token', requestTimeoutMs: 30_000, ...options },
      runtime,
    );
    let results: readonly PushResult[] | undefined;
    void publisher
      .push([1, 2].map((payload) => ({ accessId: 'a', createdAt: 1, payload })))
      .then((all) => (results = all));
    await until(
      async () => {
        await runtime.advance(1_000);
        return results !== undefined;
      },
      () => `the results, after ${log.bodies.length} requests`,
    );
    await publisher.close();
    assert.equal(runtime.pendingTimers, 0, 'the publisher has no timer left');
    return { results: results ?? [], log, pausesMs: runtime.clock.steady() };
  } finally {
    await log.close();
  }
}

const UNKNOWN: PushStep = { answer: { status: 504, code: 'ERR_OUTCOME_UNKNOWN', retryAfter: '5' } };
const NOT_APPENDED: PushStep = { answer: { status: 503, code: 'ERR_STORE_UNAVAILABLE', retryAfter: '2' } };

/** Answers after which the publisher does not know whether the events are in the log. */
const UNKNOWN_ANSWERS: Readonly<Record<string, NonNullable<PushStep['answer']>>> = {
  'a 504 ERR_OUTCOME_UNKNOWN': { status: 504, code: 'ERR_OUTCOME_UNKNOWN', retryAfter: '5' },
  'a lost connection': 'cut',
  'a timeout': 'silence',
  'a fault of the server': { status: 500, code: 'ERR_INTERNAL' },
  'a 502 of a proxy': { status: 502 },
  'a 503 of a proxy': { status: 503 },
  'a page of something in between': { status: 200 },
};

describe('G14: the outcome of a push', () => {
  for (const [name, answer] of Object.entries(UNKNOWN_ANSWERS)) {
    for (const appends of [true, false]) {
      it(`after ${name} the same bytes are sent until the outcome is known, and each event is ${appends ? 'found' : 'appended'} once`, async () => {
        const { results, log } = await play([{ appends, answer }, { answer }, { ...NOT_APPENDED }]);
        assert.deepEqual(
          results.map((result) => [result.ok, result.ok && result.duplicate]),
          [
            [true, appends],
            [true, appends],
          ],
        );
        assert.deepEqual(log.payloads, [1, 2]);
        assert.equal(log.bodies.length, 4);
        assert.equal(new Set(log.bodies).size, 1, 'every request has the same ids');
      });

      it(`after ${name} a publisher that gives up says that the outcome is not known`, async () => {
        const { results, log } = await play(
          [{ appends, answer }, NOT_APPENDED, NOT_APPENDED, NOT_APPENDED, NOT_APPENDED, NOT_APPENDED],
          { giveUpAfterMs: 1_500 },
        );
        for (const result of results) {
          assert.ok(!result.ok);
          assert.deepEqual([result.error.code, result.outcome], ['ERR_UNREACHABLE', 'unknown']);
          assert.match(result.error.message, /not known/);
        }
        assert.deepEqual(log.payloads, appends ? [1, 2] : []);
      });
    }
  }

  it('after a 503 of the server nothing was appended, and a publisher that gives up says so', async () => {
    const { results, log } = await play(
      Array.from({ length: 9 }, () => NOT_APPENDED),
      {
        giveUpAfterMs: 1_500,
      },
    );
    for (const result of results) {
      assert.ok(!result.ok);
      assert.deepEqual([result.error.code, result.outcome], ['ERR_UNREACHABLE', 'not-appended']);
    }
    assert.deepEqual(log.payloads, []);
  });

  it('a repetition waits at least as long as Retry-After says', async () => {
    const { log, pausesMs } = await play([UNKNOWN, NOT_APPENDED]);
    assert.equal(log.bodies.length, 3);
    assert.ok(pausesMs >= 7_000);
  });

  it('without a token nothing was sent', async () => {
    const { results, log } = await play([], {
      giveUpAfterMs: 1_500,
      token: () => {
        throw new TypeError('fetch failed');
      },
    });
    assert.deepEqual(
      results.map((result) => !result.ok && result.outcome),
      ['not-appended', 'not-appended'],
    );
    assert.equal(log.bodies.length, 0);
  });

  it('a refusal says that nothing was appended, unless an earlier request may have appended the events', async () => {
    const refused: PushStep = { answer: { status: 401, code: 'ERR_UNAUTHENTICATED' } };
    const outcomes = async (...script: PushStep[]): Promise<unknown[]> =>
      (await play(script)).results.map((result) => !result.ok && [result.error.status, result.outcome]);
    assert.deepEqual(await outcomes(refused), [
      [401, 'not-appended'],
      [401, 'not-appended'],
    ]);
    assert.deepEqual(await outcomes({ appends: true, answer: 'cut' }, refused), [
      [401, 'unknown'],
      [401, 'unknown'],
    ]);
  });

  it('a bad event is found by halves also after a lost answer; an id that is taken was not appended', async () => {
    const conflict: PushStep = { answer: { status: 409, code: 'ERR_ID_CONFLICT' } };
    // The halves: the first event is appended, the second one is refused.
    const { results, log } = await play([{ answer: 'cut' }, conflict, { appends: true }, conflict]);
    assert.deepEqual(
      results.map((result) => (result.ok ? 'ok' : [result.error.serverCode, result.outcome])),
      ['ok', ['ERR_ID_CONFLICT', 'not-appended']],
    );
    assert.deepEqual(log.payloads, [1]);
  });
});
