/** The publisher and the outcomes of its requests: appended, not appended, not known (G14). */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createPublisherWith, type Publisher, type PushResult } from '../../src/client/publish/publisher.ts';
import { createManualRuntime } from '../support/manual-runtime.ts';

/** What becomes of one request. */
type Step =
  /** The connection is lost before an answer. */
  | 'lost'
  /** Nothing comes until the request times out. */
  | 'silent'
  | 'appended'
  /** A 200 of something in between. */
  | 'sign-in page'
  /** An answer of the server. */
  | { readonly status: number; readonly code: string }
  /** An answer of a proxy. */
  | { readonly status: number };

const UNKNOWN: Step = { status: 504, code: 'ERR_OUTCOME_UNKNOWN' };
const NOT_APPENDED: Step = { status: 503, code: 'ERR_STORE_UNAVAILABLE' };
const UNAUTHENTICATED: Step = { status: 401, code: 'ERR_UNAUTHENTICATED' };
const INVALID: Step = { status: 400, code: 'ERR_EVENT_INVALID' };
const CONFLICT: Step = { status: 409, code: 'ERR_ID_CONFLICT' };

function answer(step: Step, count: number, signal: AbortSignal | null | undefined): Promise<Response> {
  switch (step) {
    case 'lost':
      return Promise.reject(new TypeError('fetch failed'));
    case 'silent':
      return new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => {
          reject(new TypeError('aborted'));
        });
      });
    case 'sign-in page':
      return Promise.resolve(new Response('<html>'));
    case 'appended': {
      const receipt = { version: 1, cursor: 'e.1', duplicate: true };
      return Promise.resolve(Response.json({ events: Array.from({ length: count }, () => receipt) }));
    }
    default:
      return Promise.resolve(
        'code' in step
          ? Response.json({ code: step.code, detail: 'no' }, { status: step.status })
          : new Response('<html>', { status: step.status }),
      );
  }
}

interface Played {
  readonly results: readonly PushResult[];
  /** The ids of each request. */
  readonly requests: readonly (readonly string[])[];
}

/** Pushes `count` events to a server that answers by the script; the last step repeats. */
async function play(script: readonly Step[], count = 1): Promise<Played> {
  const runtime = createManualRuntime();
  const requests: string[][] = [];
  const publisher: Publisher = createPublisherWith(
    {
      url: 'http://server',
      maxDelayMs: 0,
      requestTimeoutMs: 5_000,
      giveUpAfterMs: 60_000,
      fetch: (_url, { body, signal }) => {
        const ids = (JSON.parse(body as string) as { id: string }[]).map(({ id }) => id);
        const step = script[Math.min(requests.length, script.length - 1)] ?? 'appended';
        requests.push(ids);
        return answer(step, ids.length, signal);
      },
    },
    runtime,
  );
  const pushed = publisher.push(
    Array.from({ length: count }, (_, payload) => ({ accessId: 'a', createdAt: 1, payload })),
  );
  while (publisher.bufferedEvents > 0) {
    await runtime.advance(1_000);
  }
  return { results: await pushed, requests };
}

const outcomes = ({ results }: Played): readonly string[] =>
  results.map((result) => (result.ok ? 'appended' : result.outcome));

describe('the outcomes of a push', () => {
  const OPEN: Readonly<Record<string, Step>> = {
    '504 ERR_OUTCOME_UNKNOWN': UNKNOWN,
    'a lost connection': 'lost',
    'a request without an answer': 'silent',
    'a 200 that is not from the server': 'sign-in page',
    'a 502 of a proxy': { status: 502 },
    'a 503 of a proxy': { status: 503 },
    '500 ERR_INTERNAL': { status: 500, code: 'ERR_INTERNAL' },
  };
  for (const [name, step] of Object.entries(OPEN)) {
    it(`G5, G14: ${name} means not known: the same ids are sent until the outcome is known`, async () => {
      const played = await play([step, step, NOT_APPENDED, 'appended'], 2);
      assert.equal(played.requests.length, 4);
      assert.deepEqual(
        played.requests,
        played.requests.map(() => played.requests[0]),
      );
      assert.deepEqual(outcomes(played), ['appended', 'appended']);
    });

    it(`G14: after ${name}, nothing that the server says of a later request makes an event not appended`, async () => {
      assert.deepEqual(outcomes(await play([step, UNAUTHENTICATED])), ['not-known']);
      // It gives up after a minute of 503: the first request may still have appended the event.
      const played = await play([step, NOT_APPENDED]);
      assert.deepEqual(outcomes(played), ['not-known']);
      const [result] = played.results;
      assert.equal(result?.ok === false && result.error.code, 'ERR_UNREACHABLE');
    });

    it(`G14: after ${name}, an event that the server refuses for what it is was never appended`, async () => {
      assert.deepEqual(outcomes(await play([step, INVALID])), ['not-appended']);
      assert.deepEqual(outcomes(await play([step, CONFLICT])), ['not-appended']);
      // The batch is divided: the event in the middle is refused, the others are appended.
      const divided = await play([step, INVALID, 'appended', INVALID, INVALID, 'appended'], 3);
      assert.deepEqual(outcomes(divided), ['appended', 'not-appended', 'appended']);
    });
  }

  const CLOSED: Readonly<Record<string, Step>> = {
    '503 ERR_STORE_UNAVAILABLE': NOT_APPENDED,
    '503 ERR_LOG_REPLACED': { status: 503, code: 'ERR_LOG_REPLACED' },
    '503 ERR_QUEUE_FULL': { status: 503, code: 'ERR_QUEUE_FULL' },
    '429 ERR_RATE_LIMITED': { status: 429, code: 'ERR_RATE_LIMITED' },
  };
  for (const [name, step] of Object.entries(CLOSED)) {
    it(`G14: ${name} means not appended: it is sent again, and what is given up was not appended`, async () => {
      assert.deepEqual(outcomes(await play([step, 'appended'])), ['appended']);
      assert.deepEqual(outcomes(await play([step])), ['not-appended']);
      assert.deepEqual(outcomes(await play([step, UNAUTHENTICATED])), ['not-appended']);
    });
  }

  it('G14: an event for which no token is available was not sent', async () => {
    const runtime = createManualRuntime();
    const publisher = createPublisherWith(
      {
        url: 'http://server',
        maxDelayMs: 0,
        giveUpAfterMs: 60_000,
        token: () => Promise.reject(new TypeError('no token')),
        fetch: () => assert.fail('a request without a token'),
      },
      runtime,
    );
    const pushed = publisher.push({ accessId: 'a', createdAt: 1, payload: 1 });
    while (publisher.bufferedEvents > 0) {
      await runtime.advance(1_000);
    }
    const [result] = await pushed;
    assert.equal(result?.ok === false && result.outcome, 'not-appended');
  });
});
