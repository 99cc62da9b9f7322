/** The publisher against the real server: batches, order, repeats, refusals by event, and a server that goes away. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createPublisher, type NewEvent } from '../../src/client/index.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';

describe('the publisher', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  const event = (accessId: string, payload: unknown, more: Partial<NewEvent> = {}): NewEvent => ({
    accessId,
    createdAt: 1,
    payload,
    ...more,
  });

  it('sends the events of many callers in few requests and in their order, and gives each caller its result', async () => {
    let requests = 0;
    const publisher = createPublisher({
      url: service.url,
      token: TOKEN,
      maxBatchEvents: 100,
      fetch: (url, init) => {
        requests += 1;
        return fetch(url, init);
      },
    });
    const results = await Promise.all(
      Array.from({ length: 1_000 }, (_, at) => publisher.push(event('many', at))),
    );
    assert.ok(results.every(([result]) => result?.ok === true && !result.duplicate));
    assert.deepEqual(
      results.map(([result]) => result?.ok === true && result.version),
      results.map((_, at) => at + 1),
    );
    assert.ok(requests <= 12, `${requests} requests`);
    assert.deepEqual(
      (await service.page('many', '&limit=5000')).events.map((one) => one.payload),
      results.map((_, at) => at),
    );
    assert.equal(publisher.bufferedEvents, 0);
    await publisher.close();
    await assert.rejects(publisher.push(event('many', 1)), { code: 'ERR_CLOSED' });
  });

  it('G5: lost answers, 503 and 429 never append an event twice', async () => {
    let turn = 0;
    const publisher = createPublisher({
      url: service.url,
      token: TOKEN,
      fetch: async (url, init) => {
        turn += 1;
        if (turn % 4 === 1) {
          throw new TypeError('fetch failed');
        }
        if (turn % 4 === 2) {
          return new Response('{}', { status: 503, headers: { 'Retry-After': '0' } });
        }
        const response = await fetch(url, init);
        // The events are on disk, and nobody hears of it.
        if (turn % 4 === 3) {
          throw new TypeError('the answer was lost');
        }
        return response;
      },
    });
    for (let n = 0; n < 5; n += 1) {
      const [result] = await publisher.push(event('lossy', n));
      assert.deepEqual([result?.ok, result?.ok === true && result.duplicate], [true, true]);
    }
    assert.deepEqual(
      (await service.page('lossy')).events.map((one) => one.payload),
      [0, 1, 2, 3, 4],
    );
    await publisher.close();
  });

  it('G5: a 200 that is not from a lastseen server acknowledges nothing: the batch is sent again', async () => {
    const answers = ['<html>sign in</html>', 'true', 'null', '{"events":[]}', '{"events":7}'];
    const publisher = createPublisher({
      url: service.url,
      token: TOKEN,
      fetch: (url, init) => {
        const answer = answers.shift();
        return answer === undefined ? fetch(url, init) : Promise.resolve(new Response(answer));
      },
    });
    const [result] = await publisher.push(event('portal', 'kept'));
    assert.deepEqual([result?.ok, answers.length], [true, 0]);
    assert.deepEqual(
      (await service.page('portal')).events.map((one) => one.payload),
      ['kept'],
    );
    await publisher.close();
  });

  it('G5: a request without an answer is sent again after its timeout', async () => {
    let turn = 0;
    const publisher = createPublisher({
      url: service.url,
      token: TOKEN,
      requestTimeoutMs: 1_000,
      fetch: (url, init) => {
        turn += 1;
        if (turn > 1) {
          return fetch(url, init);
        }
        return new Promise((_, reject) => {
          init.signal?.addEventListener('abort', () => {
            reject(new TypeError('aborted'));
          });
        });
      },
    });
    const [result] = await publisher.push(event('hung', 1));
    assert.equal(result?.ok, true);
    assert.ok(turn > 1, 'it was sent again');
    assert.equal((await service.page('hung')).events.length, 1);
    await publisher.close();
  });

  it('G4: a bad event is refused by itself, and its neighbours are appended', async () => {
    const publisher = createPublisher({ url: service.url, token: TOKEN });
    await publisher.push(event('mixed', 'first', { id: 'taken' }));
    const results = await publisher.push([
      event('mixed', 1),
      event('', 2),
      event('mixed', 3),
      event('mixed', 'other', { id: 'taken' }),
      event('mixed', 5, { createdAt: 1.5 }),
      event('mixed', 6),
    ]);
    assert.deepEqual(
      results.map((result) => (result.ok ? 'ok' : result.error.serverCode)),
      ['ok', 'ERR_EVENT_INVALID', 'ok', 'ERR_ID_CONFLICT', 'ERR_EVENT_INVALID', 'ok'],
    );
    assert.deepEqual(
      (await service.page('mixed')).events.map((one) => one.payload),
      ['first', 1, 3, 6],
    );
    await publisher.close();
  });

  it('G9: raw payloads are sent unchanged', async () => {
    const publisher = createPublisher({ url: service.url, token: TOKEN });
    await publisher.push({ accessId: 'raw', createdAt: 1, rawPayload: '{"n":9007199254740993,"x":1.0}' });
    const text = await (await service.fetch('/events?access_id=raw')).text();
    assert.ok(text.includes('"payload":{"n":9007199254740993,"x":1.0}'));
    assert.throws(() => void publisher.push({ accessId: 'raw', createdAt: 1 }), TypeError);
    await publisher.close();
  });

  it('G5: a raw payload that is not exactly one JSON value is refused before anything is sent, and the error names its event', async () => {
    let requests = 0;
    const publisher = createPublisher({
      url: service.url,
      token: TOKEN,
      fetch: (url, init) => {
        requests += 1;
        return fetch(url, init);
      },
    });
    const injected = '1},{"access_id":"injected","created_at":1,"payload":2';
    for (const rawPayload of [injected, '', ' ', '1 2', '1,2', '{"a":1', 'undefined', '01', "'x'", '1}']) {
      assert.throws(
        () =>
          void publisher.push([
            event('injected', 0),
            { accessId: 'injected', createdAt: 1, id: 'wrong', rawPayload },
          ]),
        (error) => error instanceof TypeError && /"wrong".*"injected"/.test(error.message),
        rawPayload,
      );
    }
    await publisher.flush();
    assert.deepEqual([requests, publisher.bufferedEvents], [0, 0]);
    assert.deepEqual((await service.page('injected')).events, []);
    await publisher.push({ accessId: 'injected', createdAt: 1, rawPayload: ' {"a":\n1} ' });
    assert.equal((await service.page('injected')).events.length, 1);
    await publisher.close();
  });

  it('G5: a payload without JSON text and a raw payload that is no string are refused, and the error names the event', async () => {
    const publisher = createPublisher({ url: service.url, token: TOKEN });
    let turn = 0;
    const changing = {
      toString: () => ((turn += 1) === 1 ? '1' : '1},{"access_id":"b","created_at":1,"payload":2'),
    };
    const wrong: readonly object[] = [
      {},
      { payload: undefined },
      { payload: () => 1 },
      { payload: { toJSON: () => undefined } },
      { payload: 1n },
      { rawPayload: changing },
      { rawPayload: 5 },
    ];
    for (const fields of wrong) {
      assert.throws(
        () => void publisher.push({ accessId: 'unsendable', createdAt: 1, id: 'wrong', ...fields }),
        (error) => error instanceof TypeError && /"wrong".*"unsendable"/.test(error.message),
      );
    }
    assert.equal(publisher.bufferedEvents, 0);
    await publisher.close();
  });

  it('G7: the buffer is bounded, and an event that cannot be delivered fails after giveUpAfterMs', async () => {
    const publisher = createPublisher({
      url: 'http://127.0.0.1:1',
      maxBufferedEvents: 10,
      giveUpAfterMs: 300,
    });
    const waiting = publisher.push(Array.from({ length: 10 }, (_, at) => event('lost', at)));
    await assert.rejects(publisher.push(event('lost', 11)), { code: 'ERR_BUFFER_FULL' });
    const results = await waiting;
    assert.ok(results.every((result) => !result.ok && result.error.code === 'ERR_UNREACHABLE'));
    assert.equal(publisher.bufferedEvents, 0);
    await publisher.close();
  });

  it('the publisher asks once for a token to replace an expired one; a wrong token is a refusal', async () => {
    const tokens = ['old', TOKEN];
    let asked = 0;
    const publisher = createPublisher({ url: service.url, token: () => tokens[Math.min(asked++, 1)] ?? '' });
    assert.equal((await publisher.push(event('token', 1)))[0]?.ok, true);
    await publisher.close();
    const wrong = createPublisher({ url: service.url, token: 'wrong' });
    const [result] = await wrong.push(event('token', 2));
    assert.ok(result?.ok === false && result.error.status === 401 && !result.error.message.includes('wrong'));
    await wrong.close();
  });
});
