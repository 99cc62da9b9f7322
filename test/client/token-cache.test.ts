/** The token cache by a clock that the test holds, and the issuers against real HTTP. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { exportJWK, exportPKCS8, generateKeyPair, jwtVerify } from 'jose';
import {
  createTokenCache,
  type IssuedToken,
  lastseenIssuer,
  lineAssertion,
  lineIssuer,
  lineStatelessIssuer,
  type TokenCache,
  tokenCache,
} from '../../src/client/index.ts';
import { createTokenCacheWith } from '../../src/client/tokens/token-cache.ts';
import { createManualRuntime, type ManualRuntime } from '../support/manual-runtime.ts';
import { startService } from '../support/service.ts';

const unavailable = (error: unknown): boolean =>
  (error as { code?: string }).code === 'ERR_TOKEN_UNAVAILABLE';

describe('the token cache', () => {
  let runtime: ManualRuntime;
  let caches: TokenCache[];
  let asked: number;
  let answer: () => Promise<IssuedToken>;

  beforeEach(() => {
    runtime = createManualRuntime();
    caches = [];
    asked = 0;
    answer = () => Promise.resolve({ access_token: `token-${asked}`, expires_in: 900 });
  });
  afterEach(() => {
    for (const cache of caches) {
      cache.close();
    }
  });

  function create(options: Partial<Parameters<typeof createTokenCache>[0]> = {}): TokenCache {
    const cache = createTokenCacheWith(
      {
        issue: () => {
          asked += 1;
          return answer();
        },
        ...options,
      },
      runtime,
    );
    caches.push(cache);
    return cache;
  }

  /** Lets everything run that waits for nothing but its turn. */
  const settle = (): Promise<void> => runtime.advance(0);

  const pass = (seconds: number): Promise<void> => runtime.advance(seconds * 1_000);

  it('requests a token at once, and once for a hundred callers', async () => {
    const cache = create();
    const tokens = await Promise.all(Array.from({ length: 100 }, () => cache.token()));
    assert.deepEqual([new Set(tokens), asked], [new Set(['token-1']), 1]);
  });

  it('refreshes before expiry: 30 days, 15 minutes, and short lifetimes without a hot loop', async () => {
    for (const [expiresIn, refreshAfter] of [
      [2_592_000, 2_591_400],
      [900, 300],
      [600, 200],
      [60, 20],
      [1, 1],
    ] as const) {
      asked = 0;
      answer = () => Promise.resolve({ access_token: `token-${asked}`, expires_in: expiresIn });
      const cache = create();
      await settle();
      await pass(refreshAfter - 0.001);
      assert.equal(asked, 1, `${expiresIn} not before`);
      await pass(0.002);
      assert.equal(asked, 2, String(expiresIn));
      assert.equal(await cache.token(), 'token-2');
      cache.close();
    }
  });

  it('serves the old token until it expires while refreshing fails, and never after', async () => {
    const failures: string[] = [];
    const cache = create({ onError: (error) => failures.push(error.message) });
    assert.equal(await cache.token(), 'token-1');
    answer = () => Promise.reject(new Error('away'));
    await pass(300);
    assert.deepEqual([asked, failures], [2, ['away']]);
    assert.equal(await cache.token(), 'token-1');
    await pass(599);
    assert.equal(await cache.token(), 'token-1');
    await pass(1);
    await assert.rejects(cache.token(), unavailable);
    answer = () => Promise.resolve({ access_token: 'back', expires_in: 900 });
    await pass(600);
    assert.equal(await cache.token(), 'back');
  });

  it('is unavailable before the first success, retries after 30 s, then less and less often', async () => {
    answer = () => Promise.reject(new Error('away'));
    const cache = create();
    await settle();
    await assert.rejects(cache.token(), unavailable);
    await pass(29.9);
    assert.equal(asked, 1);
    await pass(0.2);
    assert.equal(asked, 2);
    for (let minute = 0; minute < 60; minute += 1) {
      await pass(60);
    }
    assert.ok(asked > 5 && asked < 40, `${String(asked)} times in an hour`);
  });

  it('requests one new token after a 401, however many callers report it', async () => {
    const cache = create();
    assert.equal(await cache.token(), 'token-1');
    for (let n = 0; n < 10; n += 1) {
      cache.invalidate('token-1');
    }
    assert.equal(await cache.token(), 'token-2');
    cache.invalidate('token-1');
    assert.equal(await cache.token(), 'token-2');
    assert.equal(asked, 2);
    cache.invalidate();
    assert.equal(await cache.token(), 'token-3');
  });

  it('G12: an answer that is not a token is a failure whose error does not show the answer', async () => {
    for (const bad of [
      null,
      'hunter2',
      { access_token: 'hunter2' },
      { access_token: 'hunter2', expires_in: '900' },
      { access_token: 'hunter2', expires_in: 0 },
      { access_token: 'hunter2', expires_in: Number.NaN },
      { expires_in: 900 },
    ]) {
      answer = () => Promise.resolve(bad as unknown as IssuedToken);
      const failures: Error[] = [];
      const cache = create({ onError: (error) => failures.push(error) });
      await settle();
      assert.equal(failures.length, 1);
      assert.doesNotMatch(JSON.stringify(failures[0], Object.getOwnPropertyNames(failures[0])), /hunter2/);
      await assert.rejects(cache.token(), unavailable);
      cache.close();
    }
  });

  it('an issuer that never answers fails after issueTimeoutSeconds', async () => {
    answer = () => new Promise(() => undefined);
    const cache = create({ issueTimeoutSeconds: 5 });
    const waiting = assert.rejects(cache.token(), unavailable);
    await settle();
    await pass(5);
    await waiting;
    answer = () => Promise.resolve({ access_token: 'late', expires_in: 900 });
    await pass(30);
    assert.equal(await cache.token(), 'late');
  });

  it('has its name until it is closed; a closed cache makes no requests', async () => {
    const cache = create({ name: 'shop' });
    assert.equal(tokenCache('shop'), cache);
    assert.throws(() => create({ name: 'shop' }), /already exists/);
    await settle();
    cache.close();
    await assert.rejects(cache.token(), unavailable);
    assert.throws(() => tokenCache('shop'), unavailable);
    await pass(10_000);
    assert.equal(asked, 1);
    assert.throws(() => create({ refreshBeforeSeconds: -1 }), RangeError);
  });
});

describe('the issuers', () => {
  interface Seen {
    readonly path: string;
    readonly type: string | undefined;
    readonly authorization: string | undefined;
    readonly fields: Record<string, string>;
  }

  async function stub(
    status = 200,
    body = '{"token_type":"Bearer","access_token":"issued","expires_in":899}',
  ): Promise<{
    readonly url: string;
    readonly seen: Seen[];
    close(): void;
  }> {
    const seen: Seen[] = [];
    const server = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      request.on('end', () => {
        seen.push({
          path: `${request.method ?? ''} ${request.url ?? ''}`,
          type: request.headers['content-type'],
          authorization: request.headers.authorization,
          fields: Object.fromEntries(new URLSearchParams(text)),
        });
        response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
      });
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      seen,
      close: () => server.close(),
    };
  }

  it('LINE: exact form fields, no Authorization, an assertion that its public key verifies', async () => {
    const line = await stub();
    const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
    for (const key of [await exportPKCS8(privateKey), (await exportJWK(privateKey)) as never]) {
      const assertion = (): Promise<string> =>
        lineAssertion({
          channelId: '123',
          kid: 'k1',
          privateKey: key,
          tokenExpiresInSeconds: 86_400,
          nowSeconds: 1_000_000,
        });
      const { payload, protectedHeader } = await jwtVerify(await assertion(), publicKey, {
        currentDate: new Date(1_000_001_000),
      });
      assert.deepEqual(protectedHeader, { alg: 'RS256', typ: 'JWT', kid: 'k1' });
      assert.deepEqual(payload, {
        iss: '123',
        sub: '123',
        aud: 'https://api.line.me/',
        exp: 1_000_030,
        token_exp: 86_400,
      });
    }
    const issued = { token_type: 'Bearer', access_token: 'issued', expires_in: 899 };
    assert.deepEqual(
      await lineStatelessIssuer({ url: line.url, channelId: '1', channelSecret: 's' })(),
      issued,
    );
    await lineStatelessIssuer({ url: line.url, assertion: () => Promise.resolve('signed') })();
    await lineIssuer({ url: line.url, assertion: () => Promise.resolve('signed') })();
    const type = 'application/x-www-form-urlencoded';
    const byAssertion = {
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: 'signed',
    };
    assert.deepEqual(line.seen, [
      {
        path: 'POST /oauth2/v3/token',
        type,
        authorization: undefined,
        fields: { grant_type: 'client_credentials', client_id: '1', client_secret: 's' },
      },
      { path: 'POST /oauth2/v3/token', type, authorization: undefined, fields: byAssertion },
      { path: 'POST /oauth2/v2.1/token', type, authorization: undefined, fields: byAssertion },
    ]);
    await assert.rejects(lineAssertion({ channelId: '1', kid: 'k', privateKey: 'x' }), /PKCS #8/);
    await assert.rejects(
      lineAssertion({ channelId: '1', kid: 'k', privateKey: 'x', ttlSeconds: 1_801 }),
      RangeError,
    );
    line.close();
  });

  it('the error of a refusal names the status only', async () => {
    const line = await stub(400, '{"error":"hunter2"}');
    await assert.rejects(
      lineStatelessIssuer({ url: line.url, channelId: '1', channelSecret: 's' })(),
      (error: Error) => error.message.includes('400') && !error.message.includes('hunter2'),
    );
    line.close();
  });

  it('the token endpoint of the server issues valid tokens', async () => {
    const service = await startService();
    const made = (await (
      await service.post('/oauth/clients', { name: 'shop', scope: 'push', access_ids: ['a'] })
    ).json()) as { client_id: string; client_secret: string };
    const cache = createTokenCache({
      issue: lastseenIssuer({
        url: `${service.url}/`,
        clientId: made.client_id,
        clientSecret: made.client_secret,
      }),
    });
    const response = await service.post('/push_events', [{ accessid: 'a', created_at: 1, payload: 1 }], {
      Authorization: `Bearer ${await cache.token()}`,
    });
    assert.equal(response.status, 200);
    cache.close();
    await service.stop();
  });
});
