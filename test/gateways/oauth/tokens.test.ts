/** Tokens, clients, refresh and revocation over the wire, the same on both engines (G10, G12). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  createRemoteJWKSet,
  decodeJwt,
  exportJWK,
  generateKeyPair,
  type JWK,
  jwtVerify,
  SignJWT,
  UnsecuredJWT,
} from 'jose';
import { eachEngine, type EngineDatabase } from '../../engines/each-engine.ts';
import {
  type Client,
  connect,
  type Problem,
  type Service,
  startService,
  TOKEN,
} from '../../support/service.ts';
import { until } from '../../support/until.ts';

interface Issued {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly token_type: string;
  readonly expires_in: number;
  readonly scope: string;
  readonly jti: string;
}

describe('tokens', () => {
  eachEngine((engine) => {
    let service: Service;
    let other: Service | undefined;
    let database: EngineDatabase;
    let sockets: Client[];

    beforeEach(async () => {
      sockets = [];
      other = undefined;
      database = await engine.createDatabase();
      service = await startService(database.settings);
      if (engine.name === 'PostgreSQL') {
        other = await startService(database.settings);
      }
    });
    afterEach(async () => {
      for (const { socket } of sockets) {
        socket.terminate();
      }
      await service.stop();
      await other?.stop();
      await database.drop();
    });

    async function issue(wanted: Record<string, unknown>): Promise<Issued> {
      const response = await service.post('/tokens', wanted);
      assert.equal(response.status, 201, await response.clone().text());
      assert.equal(response.headers.get('cache-control'), 'no-store');
      return (await response.json()) as Issued;
    }

    const as = (token: string): { Authorization: string } => ({ Authorization: `Bearer ${token}` });

    async function follow(token: string, accessId: string, node = service): Promise<Client> {
      const client = await connect(node.port, { headers: as(token) });
      sockets.push(client);
      client.send({ access_id: accessId, after: 'start' });
      await client.typed('live');
      return client;
    }

    const form = (fields: Record<string, string>, headers: Record<string, string> = {}): Promise<Response> =>
      fetch(`${service.url}/oauth/token`, { method: 'POST', headers, body: new URLSearchParams(fields) });

    async function makeClient(scope: string, accessIds: string[]): Promise<{ id: string; secret: string }> {
      const response = await service.post('/oauth/clients', { name: 'shop', scope, access_ids: accessIds });
      assert.equal(response.status, 201, await response.clone().text());
      const made = (await response.json()) as { client_id: string; client_secret: string };
      return { id: made.client_id, secret: made.client_secret };
    }

    it('a token is a JWT that the published keys verify, and allows what it says and nothing else', async () => {
      const token = await issue({
        sub: 'ada',
        scope: 'push subscribe',
        access_ids: ['ada', 'shop/*'],
        expires_in: 60,
      });
      const keys = createRemoteJWKSet(new URL(`${service.url}/.well-known/jwks.json`));
      const { payload, protectedHeader } = await jwtVerify(token.access_token, keys);
      assert.equal(protectedHeader.alg, 'EdDSA');
      assert.deepEqual(
        [payload.sub, payload['scope'], payload['access_ids'], payload.jti],
        ['ada', 'push subscribe', ['ada', 'shop/*'], token.jti],
      );
      const text = await (await fetch(`${service.url}/.well-known/jwks.json`)).text();
      assert.doesNotMatch(text, /"d":/);
      const push = async (accessId: string): Promise<number> =>
        (
          await service.post(
            '/push_events',
            [{ accessid: accessId, created_at: 1, payload: 1 }],
            as(token.access_token),
          )
        ).status;
      assert.deepEqual(
        [await push('ada'), await push('shop/7'), await push('shop'), await push('eve'), await push('ada2')],
        [200, 200, 403, 403, 403],
      );
      const read = async (accessId: string): Promise<number> =>
        (await fetch(`${service.url}/events?access_id=${accessId}`, { headers: as(token.access_token) }))
          .status;
      assert.deepEqual([await read('ada'), await read('eve'), await read('%24users')], [200, 403, 403]);
      assert.equal(
        (await service.post('/drop_user', { drop_access_id: 'ada' }, as(token.access_token))).status,
        403,
      );
      for (const path of ['/clients', '/tokens', '/oauth/clients', '/api/json/accounts/users']) {
        assert.equal(
          (await fetch(service.url + path, { headers: as(token.access_token) })).status,
          403,
          path,
        );
      }
      const all = await issue({ scope: 'subscribe', access_ids: ['*'] });
      assert.equal(
        (await fetch(`${service.url}/events?access_id=%24users`, { headers: as(all.access_token) })).status,
        403,
        'the service’s own feeds are not everybody’s',
      );
    });

    it('no token, and tokens that are expired, revoked, forged, unsigned or confused get 401 everywhere', async () => {
      const good = await issue({ scope: 'push subscribe drop query admin', access_ids: ['*'] });
      const revoked = await issue({ scope: 'admin', access_ids: ['*'] });
      assert.equal((await service.fetch(`/tokens/${revoked.jti}`, { method: 'DELETE' })).status, 204);
      const { keys } = (await (await fetch(`${service.url}/.well-known/jwks.json`)).json()) as {
        keys: JWK[];
      };
      const kid = keys[0]?.kid ?? '';
      const claims = decodeJwt(good.access_token);
      const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' });
      const sign = (alg: string, key: Parameters<SignJWT['sign']>[0], change: object = {}): Promise<string> =>
        new SignJWT({ ...claims, ...change }).setProtectedHeader({ alg, kid, typ: 'at+jwt' }).sign(key);
      const [head, body, signature] = good.access_token.split('.') as [string, string, string];
      const widened = Buffer.from(JSON.stringify({ ...claims, sub: 'root' })).toString('base64url');
      const bad: Record<string, string | undefined> = {
        none: undefined,
        rubbish: 'rubbish',
        revoked: revoked.access_token,
        'signed by another key': await sign('EdDSA', privateKey),
        'another key id': await new SignJWT(claims)
          .setProtectedHeader({ alg: 'EdDSA', kid: 'x' })
          .sign(privateKey),
        'alg none': new UnsecuredJWT(claims).encode(),
        'the public key as a secret': await sign('HS256', Buffer.from(JSON.stringify(keys[0]))),
        'the x of the public key as a secret': await sign(
          'HS256',
          Buffer.from(keys[0]?.x ?? '', 'base64url'),
        ),
        'changed claims': `${head}.${widened}.${signature}`,
        'no signature': `${head}.${body}.`,
        'a refresh token': good.refresh_token,
      };
      const routes: [string, string][] = [
        ['POST', '/push_events'],
        ['POST', '/drop_user'],
        ['GET', '/clients'],
        ['GET', '/events?access_id=a'],
        ['GET', '/tokens'],
        ['POST', '/tokens'],
        ['DELETE', '/tokens/x'],
        ['POST', '/tokens/ticket'],
        ['GET', '/oauth/clients'],
        ['POST', '/oauth/clients'],
        ['DELETE', '/oauth/clients/x'],
        ['GET', '/api/json/accounts/users'],
        ['POST', '/api/json/accounts/users'],
        ['PATCH', '/api/json/accounts/users/x'],
        ['POST', '/api/json/accounts/users/x/tokens'],
      ];
      for (const [what, token] of Object.entries(bad)) {
        for (const [method, path] of routes) {
          const response = await fetch(service.url + path, {
            method,
            headers: token === undefined ? {} : as(token),
          });
          assert.equal(response.status, 401, `${what}: ${method} ${path}`);
          assert.match(response.headers.get('www-authenticate') ?? '', /^Bearer/);
        }
        await assert.rejects(
          connect(service.port, { headers: token === undefined ? {} : as(token) }),
          /401/,
          what,
        );
      }
      for (const [method, path] of routes) {
        assert.notEqual(
          (await fetch(service.url + path, { method, headers: as(good.access_token) })).status,
          401,
        );
      }
    });

    it('every scope opens its own routes and frames, and no other', async () => {
      const body = [{ accessid: 'own', created_at: 1, payload: 1 }];
      const routes: [scope: string | null, method: string, path: string, body?: unknown][] = [
        ['push', 'POST', '/push_events', body],
        ['drop', 'POST', '/drop_user', { drop_access_id: 'own' }],
        ['subscribe', 'GET', '/events?access_id=own'],
        ['subscribe', 'POST', '/tokens/ticket'],
        ['admin', 'GET', '/clients'],
        ['admin', 'GET', '/metrics'],
        ['admin', 'GET', '/tokens'],
        ['admin', 'POST', '/tokens', {}],
        ['admin', 'DELETE', '/tokens/x'],
        ['admin', 'GET', '/oauth/clients'],
        ['admin', 'POST', '/oauth/clients', {}],
        ['admin', 'DELETE', '/oauth/clients/x'],
        ['admin', 'GET', '/api/json/accounts/users'],
        ['admin', 'GET', '/api/json/accounts/users/x'],
        ['admin', 'PATCH', '/api/json/accounts/users/x'],
        ['admin', 'DELETE', '/api/json/accounts/users/x'],
        ['admin', 'POST', '/api/json/accounts/users/x/tokens'],
      ];
      for (const scope of ['push', 'subscribe', 'drop', 'query', 'admin']) {
        const { access_token: token } = await issue({ scope, access_ids: ['own'] });
        for (const [needed, method, path, sent] of routes) {
          const response = await fetch(service.url + path, {
            method,
            headers: { ...as(token), 'Content-Type': 'application/json' },
            ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
          });
          const isAllowed = scope === needed || scope === 'admin';
          assert.equal(
            response.status === 403,
            !isAllowed,
            `${scope}: ${method} ${path}: ${response.status}`,
          );
        }
        const client = await connect(service.port, { headers: as(token) });
        sockets.push(client);
        client.send({ access_id: 'own', after: 'now' });
        if (scope === 'subscribe' || scope === 'admin') {
          await client.typed('live');
        } else {
          assert.equal((await client.closed())[0], 4502);
        }
      }
      const { access_token: own } = await issue({ scope: 'push subscribe drop', access_ids: ['own'] });
      for (const [method, path, sent] of [
        ['POST', '/push_events', [{ ...body[0], accessid: 'foreign' }]],
        ['POST', '/push_events', [body[0], { ...body[0], accessid: 'foreign' }]],
        ['POST', '/drop_user', { drop_access_id: 'foreign' }],
        ['GET', '/events?access_id=foreign', undefined],
      ] as const) {
        const response = await fetch(service.url + path, {
          method,
          headers: { ...as(own), 'Content-Type': 'application/json' },
          ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
        });
        assert.equal(response.status, 403, `${method} ${path}`);
      }
      const live = await follow(own, 'own');
      live.send({ type: 'subscribe', access_id: 'foreign', after: 'now' });
      assert.equal((await live.closed())[0], 4502);
      assert.equal(
        (await service.page('own')).events.length,
        2,
        'the batch with a foreign event was refused whole',
      );
    });

    it('a connector gets tokens for its secret, no wider than its own, and loses them when it is removed', async () => {
      const client = await makeClient('push subscribe', ['shop/*']);
      const basic = {
        Authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}`,
      };
      const first = await form({ grant_type: 'client_credentials', scope: 'push' }, basic);
      const token = (await first.json()) as Issued;
      assert.deepEqual([first.status, token.token_type, token.scope], [200, 'Bearer', 'push']);
      const credentials = { client_id: client.id, client_secret: client.secret };
      const both = (await (
        await form({ grant_type: 'client_credentials', ...credentials })
      ).json()) as Issued;
      assert.equal(both.scope, 'push subscribe');
      const errorOf = async (response: Response): Promise<unknown[]> => [
        response.status,
        ((await response.json()) as { error: string }).error,
      ];
      assert.deepEqual(
        await errorOf(await form({ grant_type: 'client_credentials', scope: 'admin', ...credentials })),
        [400, 'invalid_grant'],
      );
      assert.deepEqual(await errorOf(await form({ grant_type: 'client_credentials' })), [
        401,
        'invalid_client',
      ]);
      assert.deepEqual(
        await errorOf(
          await form({ grant_type: 'client_credentials', ...credentials, client_secret: 'wrong' }),
        ),
        [401, 'invalid_client'],
      );
      assert.deepEqual(await errorOf(await form({ grant_type: 'password' })), [
        400,
        'unsupported_grant_type',
      ]);
      assert.deepEqual(await errorOf(await form({})), [400, 'invalid_request']);
      const live = await follow(both.access_token, 'shop/1', other ?? service);
      assert.equal((await service.fetch(`/oauth/clients/${client.id}`, { method: 'DELETE' })).status, 204);
      assert.equal((await live.closed())[0], 4500);
      assert.deepEqual(await errorOf(await form({ grant_type: 'client_credentials', ...credentials })), [
        401,
        'invalid_client',
      ]);
      assert.equal(
        (
          await service.post(
            '/push_events',
            [{ accessid: 'shop/1', created_at: 1, payload: 1 }],
            as(token.access_token),
          )
        ).status,
        401,
      );
    });

    it('wrong secrets are slowed by client and by address', async () => {
      const client = await makeClient('push', ['a']);
      let status = 0;
      for (let n = 0; n < 12 && status !== 429; n += 1) {
        status = (
          await form({ grant_type: 'client_credentials', client_id: client.id, client_secret: 'guess' })
        ).status;
      }
      assert.equal(status, 429);
      const right = await form({
        grant_type: 'client_credentials',
        client_id: client.id,
        client_secret: client.secret,
      });
      assert.equal(right.status, 429);
      assert.ok(Number(right.headers.get('retry-after')) > 1);
    });

    it('a refresh token works once; its reuse revokes all that came of it, on every node', async () => {
      const first = await issue({ sub: 'ada', scope: 'subscribe', access_ids: ['ada'] });
      const refresh = (token: string): Promise<Response> =>
        form({ grant_type: 'refresh_token', refresh_token: token });
      const second = (await (await refresh(first.refresh_token)).json()) as Issued;
      assert.deepEqual(decodeJwt(second.access_token)['access_ids'], ['ada']);
      const live = await follow(second.access_token, 'ada', other ?? service);
      const again = await refresh(first.refresh_token);
      assert.deepEqual(
        [again.status, ((await again.json()) as { error: string }).error],
        [400, 'invalid_grant'],
      );
      assert.equal((await live.closed())[0], 4500);
      for (const token of [first, second]) {
        await assert.rejects(connect(service.port, { headers: as(token.access_token) }), /401/);
      }
      assert.equal((await refresh(second.refresh_token)).status, 400);
      // Ten at once: one at most gets through, and then it is reuse.
      const third = await issue({ sub: 'bob', scope: 'subscribe', access_ids: ['bob'] });
      const answers = await Promise.all(Array.from({ length: 10 }, () => refresh(third.refresh_token)));
      assert.ok(answers.filter((answer) => answer.status === 200).length <= 1);
    });

    it('G10: expiry warns and closes 4001; a refresh on the open socket loses and repeats nothing', async () => {
      const short = await issue({ sub: 'ada', scope: 'subscribe', access_ids: ['ada'], expires_in: 2 });
      const renewed = await follow(short.access_token, 'ada');
      const left = await follow(short.access_token, 'ada');
      let pushed = 0;
      const timer = setInterval(() => {
        pushed += 1;
        void service.push({ accessid: 'ada', created_at: 1, payload: pushed });
      }, 20);
      assert.ok(Number((await renewed.typed('token_expiring'))['expires_in']) <= 2);
      for (let n = 0; n < 100; n += 1) {
        const fresh =
          n === 99 ? await issue({ scope: 'subscribe', access_ids: ['ada'], expires_in: 60 }) : short;
        renewed.send({ type: 'token', token: fresh.access_token });
      }
      assert.equal((await left.closed())[0], 4001);
      clearInterval(timer);
      const events = await renewed.events(pushed);
      assert.deepEqual(
        events.map((event) => event.version),
        Array.from({ length: pushed }, (_, at) => at + 1),
      );
      assert.equal(renewed.socket.readyState, renewed.socket.OPEN);
      const foreign = await issue({ scope: 'subscribe', access_ids: ['eve'] });
      renewed.send({ type: 'token', token: foreign.access_token });
      assert.equal((await renewed.closed())[0], 4502);
      assert.equal(
        (await fetch(`${service.url}/events?access_id=ada`, { headers: as(short.access_token) })).status,
        401,
      );
    });

    it('G10: revoking closes live sockets and streams with 4500 on every node, and only those', async () => {
      const [a, b] = [
        await issue({ sub: 'ada', scope: 'subscribe', access_ids: ['x'] }),
        await issue({ sub: 'bob', scope: 'subscribe', access_ids: ['x'] }),
      ];
      const [here, there, spared] = [
        await follow(a.access_token, 'x'),
        await follow(a.access_token, 'x', other ?? service),
        await follow(b.access_token, 'x', other ?? service),
      ];
      const stream = await fetch(`${service.url}/events?access_id=x`, {
        headers: { ...as(a.access_token), Accept: 'text/event-stream' },
      });
      assert.equal((await service.fetch(`/tokens/${a.jti}`, { method: 'DELETE' })).status, 204);
      assert.deepEqual([(await here.closed())[0], (await there.closed())[0]], [4500, 4500]);
      await stream.text();
      assert.equal(spared.socket.readyState, spared.socket.OPEN);
      assert.equal((await service.post('/drop_user', { drop_access_id: 'bob', revoke: true })).status, 200);
      assert.equal((await spared.closed())[0], 4500);
      await assert.rejects(connect((other ?? service).port, { headers: as(b.access_token) }), /401/);
    });

    it('a ticket opens one socket, once, for 30 s', async () => {
      const token = await issue({ sub: 'ada', scope: 'subscribe', access_ids: ['ada'] });
      const response = await service.post('/tokens/ticket', '', as(token.access_token));
      const { ticket, expires_in: seconds } = (await response.json()) as {
        ticket: string;
        expires_in: number;
      };
      assert.deepEqual([response.status, seconds], [201, 30]);
      const node = other ?? service;
      const open = async (): Promise<Client> => {
        const client = await connect(node.port, { headers: { Origin: node.url } });
        sockets.push(client);
        client.send({ access_id: 'ada', after: 'now', ticket });
        return client;
      };
      await (await open()).typed('live');
      assert.equal((await (await open()).closed())[0], 4502);
    });

    it('rotated keys sign anew, and tokens of before still hold', async () => {
      const before = await issue({ scope: 'subscribe', access_ids: ['a'] });
      const { rotateKeys } = await import('../../../src/cli/commands/keys.ts');
      await rotateKeys(database.target, undefined);
      const published = async (): Promise<number> => {
        const text = await (await fetch(`${(other ?? service).url}/.well-known/jwks.json`)).text();
        return (JSON.parse(text) as { keys: JWK[] }).keys.length;
      };
      await until(async () => (await published()) > 1, 'the new key to be published');
      assert.equal(await published(), 2);
      for (const node of [service, ...(other === undefined ? [] : [other])]) {
        assert.equal(
          (await fetch(`${node.url}/events?access_id=a`, { headers: as(before.access_token) })).status,
          200,
        );
      }
    });

    it('G12: after every kind of secret was used, none of them is in the database or the events', async () => {
      const client = await makeClient('push', ['a']);
      const token = await issue({ scope: 'subscribe', access_ids: ['a'] });
      const { ticket } = (await (
        await service.post('/tokens/ticket', '', as(token.access_token))
      ).json()) as {
        ticket: string;
      };
      await form({ grant_type: 'refresh_token', refresh_token: token.refresh_token });
      const secrets = [TOKEN, client.secret, token.access_token, token.refresh_token, ticket];
      const tables = ['events', 'tokens', 'clients', 'tickets', 'users', 'log'];
      let text = '';
      if (engine.name === 'SQLite') {
        for (const suffix of ['', '-wal']) {
          text += readFileSync(service.databasePath + suffix, 'latin1');
        }
      } else {
        for (const table of tables) {
          text += JSON.stringify(await database.rows(`select * from ${table}`));
        }
      }
      for (const secret of secrets) {
        assert.equal(text.includes(secret), false);
      }
      const control = await service.page('$control');
      assert.ok(control.events.length >= 3);
      for (const secret of secrets) {
        assert.equal(JSON.stringify(control).includes(secret), false);
      }
    });
  });
});

describe('an outside identity provider', () => {
  it('its tokens are taken by key, issuer and audience, and no others', async () => {
    const { publicKey, privateKey } = await generateKeyPair('RS256');
    const jwk = { ...(await exportJWK(publicKey)), kid: 'outside', alg: 'RS256' };
    const provider = createServer((_request, response) => {
      response.setHeader('Content-Type', 'application/json').end(JSON.stringify({ keys: [jwk] }));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => provider.once('listening', resolve));
    const service = await startService({
      LASTSEEN_JWKS_URL: `http://127.0.0.1:${(provider.address() as AddressInfo).port}/jwks`,
      LASTSEEN_JWT_ISSUER: 'https://idp.example',
      LASTSEEN_JWT_AUDIENCE: 'our-app',
    });
    const token = (change: { iss?: string; aud?: string; exp?: string } = {}): Promise<string> =>
      new SignJWT({ scope: 'subscribe', access_ids: ['ada'] })
        .setProtectedHeader({ alg: 'RS256', kid: 'outside' })
        .setSubject('ada')
        .setIssuer(change.iss ?? 'https://idp.example')
        .setAudience(change.aud ?? 'our-app')
        .setIssuedAt()
        .setExpirationTime(change.exp ?? '1m')
        .sign(privateKey);
    const status = async (text: string, accessId = 'ada'): Promise<number> =>
      (
        await fetch(`${service.url}/events?access_id=${accessId}`, {
          headers: { Authorization: `Bearer ${text}` },
        })
      ).status;
    assert.equal(await status(await token()), 200);
    assert.equal(await status(await token(), 'eve'), 403);
    for (const change of [
      { iss: 'https://evil.example' },
      { iss: 'lastseen' },
      { aud: 'other' },
      { exp: '-1s' },
    ]) {
      assert.equal(await status(await token(change)), 401, JSON.stringify(change));
    }
    await service.stop();
    provider.close();
  });
});

it('a principal that asks too much gets 429, and the others are not slowed', async () => {
  const service = await startService({
    LASTSEEN_MAX_REQUESTS_PER_SECOND: '20',
    LASTSEEN_MAX_EVENTS_PER_SECOND: '100',
  });
  const tokens = await Promise.all(
    ['noisy', 'quiet'].map(async (sub) => {
      const response = await service.post('/tokens', { sub, scope: 'push', access_ids: ['*'] });
      return ((await response.json()) as Issued).access_token;
    }),
  );
  const push = (token: string | undefined, count = 1): Promise<Response> =>
    service.post(
      '/push_events',
      Array.from({ length: count }, () => ({ accessid: 'a', created_at: 1, payload: 1 })),
      { Authorization: `Bearer ${token ?? ''}` },
    );
  const answers = await Promise.all(Array.from({ length: 60 }, () => push(tokens[0])));
  const refused = answers.filter((answer) => answer.status === 429);
  assert.ok(refused.length >= 30 && refused.length < 60);
  assert.ok(refused.every((answer) => Number(answer.headers.get('retry-after')) >= 1));
  assert.equal(((await refused[0]?.json()) as Problem).code, 'ERR_RATE_LIMITED');
  assert.equal((await push(tokens[1])).status, 200);
  assert.equal((await push(tokens[1], 990)).status, 200);
  assert.equal((await push(tokens[1], 100)).status, 429);
  const stored = (await service.page('a', '&limit=5000')).events.length;
  assert.equal(stored, 60 - refused.length + 991, 'what was refused was not appended');
  await service.stop();
});
