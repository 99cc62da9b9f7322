/** The subscription of the SDK against the real server, over every transport, cut and slowed in every way. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import {
  ClientError,
  type ClientEvent,
  createTokenCache,
  type SocketConstructor,
  subscribe,
  type SubscribeOptions,
  type SubscriptionState,
  type TransportName,
} from '../../src/client/index.ts';
import { fileStore } from '../../src/client/node.ts';
import { startProxy } from '../support/proxy.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const Ws: SocketConstructor = WebSocket;

describe('subscribe', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  const push = (accessId: string, ...payloads: unknown[]): Promise<void> =>
    service.push(...payloads.map((payload) => ({ accessid: accessId, created_at: 1, payload })));

  /** The first `count` events of a subscription. */
  async function take(
    count: number,
    options: Partial<SubscribeOptions> & { accessId: string | string[] },
  ): Promise<ClientEvent[]> {
    const events: ClientEvent[] = [];
    for await (const event of subscribe({
      url: service.url,
      token: TOKEN,
      WebSocket: Ws,
      after: 'start',
      ...options,
    })) {
      events.push(event);
      if (events.length >= count) {
        break;
      }
    }
    return events;
  }

  const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1);

  for (const transport of ['websocket', 'stream', 'poll'] as const satisfies TransportName[]) {
    describe(`over ${transport}`, () => {
      const id = (name: string): string => `${transport}-${name}`;

      it('G3, G9: gives history and then what comes, with every field and the raw payload', async () => {
        await service.push({ accessid: id('all'), created_at: -7, id: 'x', payload: { a: ['}"],', 1] } });
        await service.post(
          '/push_events',
          `[{"accessid":"${id('all')}","created_at":1,"payload":9007199254740993}]`,
        );
        const states: string[] = [];
        const events: ClientEvent[] = [];
        for await (const event of subscribe({
          url: service.url,
          token: TOKEN,
          WebSocket: Ws,
          accessId: id('all'),
          after: 'start',
          transports: [transport],
          onState: (state) => {
            states.push(state.name);
            if (state.name === 'live') {
              void push(id('all'), 'live');
            }
          },
        })) {
          events.push(event);
          if (events.length === 3) {
            break;
          }
        }
        assert.deepEqual(
          events.map((event) => [event.version, event.createdAt, event.id, event.rawPayload]),
          [
            [1, -7, 'x', '{"a":["}\\"],",1]}'],
            [2, 1, null, '9007199254740993'],
            [3, 1, null, '"live"'],
          ],
        );
        assert.deepEqual(events[0]?.payload, { a: ['}"],', 1] });
        assert.equal(states.at(-1), 'closed');
        assert.ok(states.includes('live'));
      });

      it('G3: cut again and again while events come, it gives each once, in order', async () => {
        const proxy = await startProxy(service.port);
        const total = 400;
        const pushing = (async () => {
          for (let n = 1; n <= total; n += 1) {
            await push(id('cut'), n);
            if (n % 50 === 0) {
              proxy.cut();
            }
          }
        })();
        const events = await take(total, {
          url: `http://127.0.0.1:${proxy.port}`,
          accessId: id('cut'),
          transports: [transport],
        });
        await pushing;
        assert.deepEqual(
          events.map((event) => event.payload),
          numbers(total),
        );
        assert.ok(proxy.accepted > 1);
        await proxy.close();
      });

      it('G3: "now" has no gap when the connection is lost before the first event', async () => {
        const proxy = await startProxy(service.port);
        let lives = 0;
        const first = take(1, {
          url: `http://127.0.0.1:${proxy.port}`,
          accessId: id('now'),
          after: 'now',
          transports: [transport],
          onState: (state: SubscriptionState) => {
            if (state.name !== 'live' || (lives += 1) > 1) {
              return;
            }
            // Lost, and an event comes before it is back.
            proxy.cut();
            void push(id('now'), 'between');
          },
        });
        assert.deepEqual(
          (await first).map((event) => event.payload),
          ['between'],
        );
        await proxy.close();
      });

      it('resumes after a restart from the cursor in a file', async () => {
        const directory = temporaryDirectory();
        await push(id('store'), ...numbers(5));
        const seen: unknown[] = [];
        for (let turn = 0; turn < 3; turn += 1) {
          const store = fileStore(join(directory.path, 'cursors.json'), { maxLagMs: 0 });
          // The loop is left while it holds its second event: that one has not been taken.
          for (const event of await take(2, { accessId: id('store'), store, transports: [transport] })) {
            seen.push(event.payload);
          }
        }
        assert.deepEqual(seen, [1, 2, 2, 3, 3, 4]);
        directory.remove();
      });

      it('G10: a token cache whose token is refused gets one call for another', async () => {
        let issued = 0;
        const cache = createTokenCache({
          issue: () => {
            issued += 1;
            return Promise.resolve({ access_token: issued === 1 ? 'worn-out' : TOKEN, expires_in: 900 });
          },
        });
        await push(id('cache'), 1);
        const options = { accessId: id('cache'), token: cache, transports: [transport] };
        assert.equal((await take(1, options)).length, 1);
        assert.equal(issued, 2);
        cache.close();
        const never = createTokenCache({
          issue: () => Promise.resolve({ access_token: 'worn-out', expires_in: 900 }),
        });
        await assert.rejects(take(1, { ...options, token: never }), { code: 'ERR_REFUSED', status: 401 });
        never.close();
      });

      it('G6: a refused cursor is thrown with its floor, or reading continues from the floor if onVerdict says so', async () => {
        await push(id('verdict'), 1);
        await assert.rejects(
          take(1, { accessId: id('verdict'), after: 'aaaaaaaa.1', transports: [transport] }),
          (error) =>
            error instanceof ClientError && error.code === 'ERR_CURSOR_EPOCH' && error.floor !== undefined,
        );
        const events = await take(1, {
          accessId: id('verdict'),
          after: 'aaaaaaaa.1',
          transports: [transport],
          onVerdict: () => 'floor',
        });
        assert.deepEqual(
          events.map((event) => event.payload),
          [1],
        );
      });

      it('a wrong token is thrown after one attempt', async () => {
        await assert.rejects(
          take(1, {
            accessId: id('wrong'),
            token: 'wrong',
            transports: [transport],
          }),
          (error) => error instanceof ClientError && error.code === 'ERR_REFUSED' && error.status === 401,
        );
      });

      it('several access_ids come in one loop, each in its own order', async () => {
        const ids = ['a', 'b', 'c'].map(id);
        for (const accessId of ids) {
          await push(accessId, ...numbers(20));
        }
        const events = await take(60, { accessId: ids, transports: [transport] });
        for (const accessId of ids) {
          assert.deepEqual(
            events.filter((event) => event.accessId === accessId).map((event) => event.version),
            numbers(20),
          );
        }
      });
    });
  }

  it('falls back where WebSockets are blocked', async () => {
    class Blocked {
      readonly readyState = 3;
      onopen = null;
      onmessage = null;
      onerror = null;
      onclose: ((event: { code: number; reason: string }) => void) | null = null;
      constructor() {
        setTimeout(() => this.onclose?.({ code: 1006, reason: '' }), 1);
      }
      send(): void {
        throw new Error('not open');
      }
      close(): void {
        // It never was open.
      }
    }
    await push('blocked', 1, 2);
    const used = new Set<string>();
    const events = await take(2, {
      accessId: 'blocked',
      WebSocket: Blocked,
      onState: (state) => {
        if (state.name === 'connecting') {
          used.add(state.transport);
        }
      },
    });
    assert.equal(events.length, 2);
    assert.deepEqual([...used], ['websocket', 'stream']);
  });

  it('G7: a slow loop holds the server back, is not disconnected, and loses nothing', async () => {
    const text = 'x'.repeat(20_000);
    await push('slow', ...numbers(400).map((n) => `${n}${text}`));
    let connections = 0;
    const seen: number[] = [];
    for await (const event of subscribe({
      url: service.url,
      token: TOKEN,
      WebSocket: Ws,
      accessId: 'slow',
      after: 'start',
      onState: (state) => {
        if (state.name === 'connecting') {
          connections += 1;
        }
      },
    })) {
      seen.push(event.version);
      if (event.version % 100 === 0) {
        await sleep(100);
      }
      if (seen.length === 400) {
        break;
      }
    }
    assert.deepEqual([seen, connections], [numbers(400), 1]);
  });

  it('G10: a token that ends is replaced on the open socket; a revoked one is thrown', async () => {
    const issue = async (seconds: number): Promise<{ access_token: string; jti: string }> =>
      (await (
        await service.post('/tokens', {
          sub: 'sdk',
          scope: 'subscribe',
          access_ids: ['sdk'],
          expires_in: seconds,
        })
      ).json()) as { access_token: string; jti: string };
    let asked = 0;
    let last = '';
    let connections = 0;
    const seen: unknown[] = [];
    const timer = setInterval(() => {
      void push('sdk', 'tick');
    }, 50);
    const work = (async () => {
      for await (const event of subscribe({
        url: service.url,
        WebSocket: Ws,
        accessId: 'sdk',
        after: 'start',
        transports: ['websocket'],
        token: async () => {
          asked += 1;
          const issued = await issue(asked === 1 ? 2 : 60);
          last = issued.jti;
          return issued.access_token;
        },
        onState: (state) => {
          if (state.name === 'connecting') {
            connections += 1;
          }
        },
      })) {
        seen.push(event.version);
        if (seen.length === 60) {
          await service.fetch(`/tokens/${last}`, { method: 'DELETE' });
        }
      }
    })();
    await assert.rejects(work, (error) => error instanceof ClientError && error.code === 'ERR_REFUSED');
    clearInterval(timer);
    assert.deepEqual([asked, connections], [2, 1]);
    assert.deepEqual(seen, numbers(seen.length));
  });

  it('G3: a feed that is refused among others is thrown, never left out in silence', async () => {
    await push('among', 1);
    const others = ['x'.repeat(300), '', 'a\ud800'];
    for (const other of others) {
      await assert.rejects(take(5, { accessId: ['among', other] }), { code: 'ERR_REFUSED' });
    }
    const many = Array.from({ length: 101 }, (_, at) => `many-${at}`);
    await assert.rejects(take(1, { accessId: many }), /at most 100 access_ids, got 101/);
  });

  it('the subscription waits for a token source without a token, and names the reason in its state', async () => {
    await push('late-token', 1);
    let asked = 0;
    const reasons: string[] = [];
    const events = await take(1, {
      accessId: 'late-token',
      token: () => {
        asked += 1;
        if (asked < 3) {
          throw new TypeError('fetch failed');
        }
        return TOKEN;
      },
      onState: (state) => {
        if (state.name === 'waiting') {
          reasons.push(state.reason);
        }
      },
    });
    assert.equal(events.length, 1);
    assert.deepEqual(reasons, ['no token is available now', 'no token is available now']);
  });

  it('a file of cursors is written by flush at the latest, and a file with anything else is refused', () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'cursors.json');
    const store = fileStore(path, { maxLagMs: 60_000 });
    assert.equal(store.load('a'), undefined);
    void store.save('a', 'e.1');
    void store.save('b', 'e.2');
    assert.equal(fileStore(path).load('b'), undefined);
    store.flush();
    assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), { a: 'e.1', b: 'e.2' });
    for (const damaged of ['', 'e.1', '[]', '{"a":1}', 'null']) {
      writeFileSync(path, damaged);
      assert.throws(() => fileStore(path), /does not contain cursors/);
    }
    directory.remove();
  });

  it('ends without an error when its signal aborts', async () => {
    const controller = new AbortController();
    const work = (async () => {
      for await (const event of subscribe({
        url: service.url,
        token: TOKEN,
        WebSocket: Ws,
        accessId: 'aborted',
        signal: controller.signal,
        onState: (state) => {
          if (state.name === 'live') {
            controller.abort();
          }
        },
      })) {
        assert.fail(`nothing was pushed, and yet: ${event.cursor}`);
      }
    })();
    await work;
  });
});
