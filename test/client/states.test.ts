/** The state table of a subscription: whatever happens in whichever state, each event once, in order, or a typed error. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { WebSocket } from 'ws';
import {
  ClientError,
  type SubscribeOptions,
  type SubscriptionState,
  type TransportName,
} from '../../src/client/index.ts';
import { subscribeWith } from '../../src/client/subscribe/subscription.ts';
import { createManualRuntime } from '../support/manual-runtime.ts';
import { until } from '../support/until.ts';
import { type Attempt, type FakeServer, type Served, startFakeServer } from './fake-server.ts';

const STATES = ['connecting', 'catching-up', 'live', 'waiting'] as const;

type State = (typeof STATES)[number];

/** What becomes of the loop: it gets all five events, ends, or throws. */
type Outcome = 'resumes' | 'ends' | ClientError['code'];

interface Happening {
  readonly outcome: Outcome;
  /** What a connection that is open does. */
  readonly open?: (served: Served) => void;
  /** What the next connection is answered. */
  readonly answer?: { readonly status: number; readonly retryAfter?: string; readonly body?: string };
  readonly only?: readonly TransportName[];
  /** Every later connection is answered the same. */
  readonly persists?: boolean;
  /** The client finds out when time passes, once so many of its timers wait. */
  readonly foundOutBy?: { readonly timers: number };
}

const problem = (code: string, more: Record<string, string> = {}): string =>
  JSON.stringify({ code, detail: 'no', floor: 'e.3', access_id: 'a', ...more });
const verdict =
  (code: string, more: Record<string, string> = {}) =>
  (served: Served) => {
    served.close(4501, 'cursor refused', { code, detail: 'no', floor: 'e.3', access_id: 'a', ...more });
  };
const COMMON = { common: 'e.2', common_by: 'trail' };
const closing =
  (code: number, reason = '') =>
  (served: Served) => {
    served.close(code, reason);
  };
const SOCKET = ['websocket'] as const;

/** `last` is the version that the loop has. */
const HAPPENINGS: Readonly<Record<string, Happening>> = {
  'the connection is cut': {
    outcome: 'resumes',
    open: (served) => {
      served.cut();
    },
  },
  'the server falls silent': { outcome: 'resumes', open: () => undefined, foundOutBy: { timers: 1 } },
  'rubbish comes': {
    outcome: 'resumes',
    open: (served) => {
      served.rubbish('<html>');
    },
  },
  'rubbish comes as JSON': {
    outcome: 'resumes',
    open: (served) => {
      served.rubbish('{"type":"events","events":[{}]}');
    },
  },
  'a version is left out': {
    outcome: 'ERR_GAP',
    open: (served) => {
      served.give(served.after + 1, served.after + 3);
    },
  },
  'a version comes twice': {
    outcome: 'ERR_GAP',
    open: (served) => {
      served.give(served.after + 1, served.after + 1);
    },
  },
  'versions come in the wrong order': {
    outcome: 'ERR_GAP',
    open: (served) => {
      served.give(served.after + 1, served.after + 3, served.after + 2);
    },
  },
  'events of a stranger come': {
    outcome: 'ERR_GAP',
    open: (served) => {
      served.giveOf('b', 1);
    },
  },
  'the server restarts': { outcome: 'resumes', open: closing(1012, 'restarting'), only: SOCKET },
  'the server goes away': { outcome: 'resumes', open: closing(1001), only: SOCKET },
  'the server has a fault': { outcome: 'resumes', open: closing(1011), only: SOCKET },
  'there are too many connections': { outcome: 'resumes', open: closing(1013), only: SOCKET },
  'the token expires': { outcome: 'resumes', open: closing(4001, 'token expired'), only: SOCKET },
  'pongs were missed': { outcome: 'resumes', open: closing(4002), only: SOCKET },
  'the reader stalled': { outcome: 'resumes', open: closing(4003), only: SOCKET },
  'the access_id is dropped': { outcome: 'ERR_DROPPED', open: closing(1000, 'close'), only: SOCKET },
  'the token is revoked': { outcome: 'ERR_REFUSED', open: closing(4500, 'token revoked'), only: SOCKET },
  'the token does not allow it': { outcome: 'ERR_REFUSED', open: closing(4502), only: SOCKET },
  'the first message is not liked': { outcome: 'ERR_REFUSED', open: closing(1008), only: SOCKET },
  'the epoch is another': { outcome: 'ERR_CURSOR_EPOCH', open: verdict('ERR_CURSOR_EPOCH'), only: SOCKET },
  'retention has overtaken it': {
    outcome: 'ERR_CURSOR_TOO_OLD',
    open: verdict('ERR_CURSOR_TOO_OLD'),
    only: SOCKET,
  },
  'the history is another': {
    outcome: 'ERR_CURSOR_DIVERGED',
    open: verdict('ERR_CURSOR_DIVERGED', COMMON),
    only: SOCKET,
  },
  'the log was replaced': { outcome: 'resumes', open: closing(1012, 'log replaced'), only: SOCKET },
  'a feed is refused, and the socket stays open': {
    outcome: 'ERR_REFUSED',
    open: (served) => {
      served.rubbish('{"type":"error","code":"ERR_TOO_MANY_SUBSCRIPTIONS","detail":"no","access_id":"a"}');
    },
    only: SOCKET,
    // The silence of the server, and the close that may follow the error.
    foundOutBy: { timers: 2 },
  },
  'next time 401': { outcome: 'ERR_REFUSED', answer: { status: 401 } },
  'next time 403': { outcome: 'ERR_REFUSED', answer: { status: 403, body: problem('ERR_FORBIDDEN') } },
  'next time 404': { outcome: 'ERR_REFUSED', answer: { status: 404 } },
  'next time over quota': { outcome: 'resumes', answer: { status: 429, retryAfter: '1' } },
  'next time draining': { outcome: 'resumes', answer: { status: 503, retryAfter: '0' } },
  'next time a broken gateway': { outcome: 'resumes', answer: { status: 502, body: '<html>' } },
  'next time a page of something in between': { outcome: 'resumes', answer: { status: 200, body: '<html>' } },
  'next time another epoch': {
    outcome: 'ERR_CURSOR_EPOCH',
    answer: { status: 409, body: problem('ERR_CURSOR_EPOCH') },
    persists: true,
  },
  'next time too old': {
    outcome: 'ERR_CURSOR_TOO_OLD',
    answer: { status: 410, body: problem('ERR_CURSOR_TOO_OLD') },
    persists: true,
  },
  'next time ahead': {
    outcome: 'ERR_CURSOR_AHEAD',
    answer: { status: 409, body: problem('ERR_CURSOR_AHEAD') },
    persists: true,
  },
  'next time another history': {
    outcome: 'ERR_CURSOR_DIVERGED',
    answer: { status: 409, body: problem('ERR_CURSOR_DIVERGED', COMMON) },
    persists: true,
  },
  'next time the log is being replaced': {
    outcome: 'resumes',
    answer: { status: 503, retryAfter: '1', body: problem('ERR_LOG_REPLACED') },
  },
};

const TOTAL = 5;

const SILENCE_MS = 60_000;

interface Case {
  readonly seen: number[];
  readonly outcome: Outcome;
  readonly states: SubscriptionState[];
}

/**
 * Leads a subscription into the state, lets it happen there, and after that serves it well. The test holds the clock of
 * the client: it moves through the pauses between connections, and when the client can only find out by it.
 */
async function play(transport: TransportName, state: State, happening: Happening): Promise<Case> {
  const runtime = createManualRuntime();
  let turn = 0;
  let isOver = false;
  const seen: number[] = [];
  const states: SubscriptionState[] = [];
  let wake: () => void = () => undefined;
  let question = happening.answer;

  /** Waits until the loop has so many events. */
  const reached = async (count: number): Promise<void> => {
    while (seen.length < count) {
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  const begin = async (served: Served): Promise<void> => {
    happening.open?.(served);
    const { foundOutBy } = happening;
    if (foundOutBy !== undefined) {
      await until(() => runtime.pendingTimers >= foundOutBy.timers, 'the timers of the client');
      const before = turn;
      const hasFoundOut = (): boolean => isOver || turn > before;
      await until(async () => {
        await runtime.advance(SILENCE_MS);
        return hasFoundOut();
      }, 'the client to find out');
    }
  };
  const refuse = (attempt: Attempt): void => {
    const { status = 500, retryAfter, body = '' } = happening.answer ?? {};
    attempt.answer(status, retryAfter === undefined ? {} : { 'Retry-After': retryAfter }, body);
  };

  async function onAttempt(attempt: Attempt): Promise<void> {
    turn += 1;
    const first = state === 'waiting' ? 2 : 1;
    if (turn < first) {
      attempt.cut();
      return;
    }
    if (turn === first) {
      if (happening.answer !== undefined && (state === 'connecting' || state === 'waiting')) {
        refuse(attempt);
        return;
      }
      const served = await attempt.serve();
      if (state === 'catching-up' || state === 'live') {
        served.begin();
        if (state === 'live') {
          served.live();
        }
        const known = state === 'live' ? 3 : 1;
        served.give(...Array.from({ length: known }, (_, at) => at + 1));
        await reached(known);
        if (transport === 'poll') {
          return;
        }
        if (happening.answer !== undefined) {
          served.cut();
        } else {
          await begin({ ...served, after: known });
        }
        return;
      }
      served.begin();
      await begin(served);
      return;
    }
    // A poll asks again by itself: what happens, happens to the question after the first.
    if (transport === 'poll' && turn === first + 1 && (state === 'catching-up' || state === 'live')) {
      if (happening.answer !== undefined) {
        refuse(attempt);
      } else {
        await begin(await attempt.serve());
      }
      return;
    }
    if (
      happening.answer !== undefined &&
      turn === first + 1 &&
      state !== 'connecting' &&
      state !== 'waiting'
    ) {
      refuse(attempt);
      return;
    }
    if (happening.persists === true) {
      refuse(attempt);
      return;
    }
    question = undefined;
    const served = await attempt.serve();
    served.begin();
    const versions = Array.from({ length: TOTAL - served.after }, (_, at) => served.after + 1 + at);
    if (versions.length > 0) {
      served.give(...versions);
    }
    served.live();
  }

  let server: FakeServer | undefined;
  try {
    server = await startFakeServer(
      (attempt) => void onAttempt(attempt),
      (response) => {
        if (question === undefined) {
          const page = { access_id: 'a', events: [], cursor: 'e.0', caught_up: true };
          response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(page));
        } else {
          const { status, retryAfter, body } = question;
          response.writeHead(status, retryAfter === undefined ? {} : { 'Retry-After': retryAfter }).end(body);
        }
      },
    );
    const options: SubscribeOptions = {
      url: server.url,
      accessId: 'a',
      after: 'start',
      token: 'token',
      WebSocket,
      transports: [transport],
      silenceMs: SILENCE_MS,
      onState(one) {
        states.push(one);
        if (one.name === 'waiting') {
          void runtime.advance(one.pauseMs);
        }
      },
    };
    let outcome: Outcome = 'ends';
    try {
      for await (const event of subscribeWith(options, runtime)) {
        seen.push(event.version);
        assert.equal(event.payload, event.version);
        wake();
        if (seen.length === TOTAL) {
          outcome = 'resumes';
          break;
        }
      }
    } catch (error) {
      if (!(error instanceof ClientError)) {
        throw error;
      }
      outcome = error.code;
      if (error.code.startsWith('ERR_CURSOR_')) {
        assert.equal(error.floor, 'e.3');
      }
      if (error.code === 'ERR_CURSOR_DIVERGED') {
        // The version of the cursor e.2 is known to a loop that has taken it; another may learn it from a page.
        const { from, through } = error.unproven ?? {};
        assert.equal(through, seen.at(-1));
        assert.ok(from === 3 || (from === undefined && through !== 3), `from ${from}`);
        assert.deepEqual([error.common, error.commonBy], ['e.2', 'trail']);
      }
    }
    assert.equal(runtime.pendingTimers, 0, 'the client has no timer left');
    return { seen, outcome, states };
  } finally {
    isOver = true;
    await server?.close();
  }
}

for (const transport of ['websocket', 'stream', 'poll'] as const) {
  describe(`the state table over ${transport}`, { concurrency: 20 }, () => {
    for (const [name, happening] of Object.entries(HAPPENINGS)) {
      if (happening.only !== undefined && !happening.only.some((one) => one === transport)) {
        continue;
      }
      for (const state of STATES) {
        it(`${state}: ${name} → ${happening.outcome}`, async () => {
          const { seen, outcome, states } = await play(transport, state, happening);
          assert.equal(outcome, happening.outcome);
          assert.deepEqual(
            seen,
            Array.from({ length: seen.length }, (_, at) => at + 1),
          );
          assert.equal(states.at(-1)?.name, 'closed');
          if (happening.answer?.retryAfter === '1') {
            assert.ok(states.some((one) => one.name === 'waiting' && one.pauseMs >= 1_000));
          }
        });
      }
    }
  });
}
