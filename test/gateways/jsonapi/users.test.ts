/** Users over JSON:API, as the clients of the original register, on both engines. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { eachEngine, type EngineDatabase } from '../../engines/each-engine.ts';
import { connect, type Service, startService, TOKEN } from '../../support/service.ts';

const BASE = '/api/json/accounts/users';
const TYPE = 'application/vnd.api+json';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

interface Resource {
  readonly id: string;
  readonly type: string;
  readonly attributes: Record<string, unknown>;
}

interface Document {
  readonly data: Resource;
  readonly errors?: {
    status: string;
    code: string;
    detail: string;
    source?: { pointer?: string; parameter?: string };
  }[];
  readonly links: Record<string, string | null>;
  readonly jsonapi: unknown;
}

describe('users', () => {
  eachEngine((engine) => {
    let service: Service;
    let database: EngineDatabase;
    beforeEach(async () => {
      database = await engine.createDatabase();
      service = await startService(database.settings);
    });
    afterEach(async () => {
      await service.stop();
      await database.drop();
    });

    const send = (
      method: string,
      path: string,
      body?: unknown,
      headers: Record<string, string> = {},
    ): Promise<Response> =>
      service.fetch(path, {
        method,
        headers: { Accept: TYPE, 'Content-Type': TYPE, ...headers },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
    const user = (attributes?: Record<string, unknown>): object => ({ data: { type: 'user', attributes } });
    const documentOf = async (response: Response): Promise<Document> => (await response.json()) as Document;

    async function register(nickname?: string): Promise<Resource> {
      const response = await send('POST', BASE, user(nickname === undefined ? {} : { nickname }));
      assert.equal(response.status, 201, await response.clone().text());
      return (await documentOf(response)).data;
    }

    it('registers with exactly the headers and body of its clients, with or without the trailing slash', async () => {
      for (const path of [BASE, `${BASE}/`]) {
        const response = await send(
          'POST',
          path,
          '{"data":{"type":"user","attributes":{"nickname":"  Korone  "}}}',
        );
        assert.equal(response.status, 201);
        assert.equal(response.headers.get('content-type'), TYPE);
        const { data, jsonapi } = await documentOf(response);
        assert.match(data.id, UUID);
        assert.deepEqual(
          [data.type, data.attributes, jsonapi],
          ['user', { nickname: 'Korone', stamps_collected: 0 }, { version: '1.0' }],
        );
        assert.equal(response.headers.get('location'), `${BASE}/${data.id}`);
      }
      assert.deepEqual((await register()).attributes, { nickname: null, stamps_collected: 0 });
      const events = await service.page('$users');
      assert.deepEqual(
        events.events.map((event) => (event.payload as { type: string }).type),
        ['registered', 'registered', 'registered'],
      );
      assert.doesNotMatch(JSON.stringify(events), /Korone/, 'nothing personal is in the log');
    });

    it('names each fault with a JSON:API pointer, and registers nothing', async () => {
      for (const [body, pointer] of [
        [{}, '/data'],
        [{ data: null }, '/data'],
        [{ data: { type: 'dog' } }, '/data/type'],
        [user({ nickname: 'ab' }), '/data/attributes/nickname'],
        [user({ nickname: '  ab  ' }), '/data/attributes/nickname'],
        [user({ nickname: 'x'.repeat(21) }), '/data/attributes/nickname'],
        [user({ nickname: null }), '/data/attributes/nickname'],
        [user({ nickname: 7 }), '/data/attributes/nickname'],
        [user({ stamps_collected: -1 }), '/data/attributes/stamps_collected'],
        [user({ stamps_collected: 'many' }), '/data/attributes/stamps_collected'],
        [user({ email: 'a@b' }), '/data/attributes/email'],
        [{ data: { type: 'user', id: 'mine' } }, '/data/id'],
        [{ ...user(), extra: 1 }, '/extra'],
      ] as const) {
        const response = await send('POST', BASE, body);
        const { errors } = await documentOf(response);
        assert.deepEqual(
          [
            response.status,
            response.headers.get('content-type'),
            errors?.[0]?.status,
            errors?.[0]?.source?.pointer,
          ],
          [400, TYPE, '400', pointer],
          JSON.stringify(body),
        );
      }
      assert.equal((await send('POST', BASE, '{"data":')).status, 400);
      assert.equal(
        (await send('POST', BASE, JSON.stringify(user({ nickname: 'x'.repeat(20_000) })))).status,
        413,
      );
      assert.deepEqual((await documentOf(await send('GET', BASE))).data, []);
    });

    it('media types are right by JSON:API: 415 for the content, 406 for what is accepted', async () => {
      const status = async (headers: Record<string, string>): Promise<number> =>
        (await send('POST', BASE, user({}), headers)).status;
      for (const type of ['application/json', `${TYPE}; charset=utf-8`, `${TYPE}; ext="x"`, 'text/plain']) {
        assert.equal(await status({ 'Content-Type': type }), 415, type);
      }
      for (const type of [TYPE, `${TYPE}; profile="http://example.com/x"`]) {
        assert.equal(await status({ 'Content-Type': type }), 201, type);
      }
      for (const accept of [`${TYPE}; charset=utf-8`, `${TYPE}; a=b, ${TYPE}; c=d`]) {
        assert.equal(await status({ Accept: accept }), 406, accept);
      }
      for (const accept of ['*/*', 'application/json', `${TYPE}; a=b, ${TYPE}`, `${TYPE};q=0.5`]) {
        assert.equal(await status({ Accept: accept }), 201, accept);
      }
    });

    it('reads, changes, lists in pages, sparse and by nickname, and removes', async () => {
      const people: Resource[] = [];
      for (const name of ['alpha', 'beta', 'gamma', 'beta']) {
        people.push(await register(name));
      }
      const [first] = people;
      const at = `${BASE}/${first?.id ?? ''}`;
      assert.deepEqual((await documentOf(await send('GET', at))).data, first);
      const changed = await send('PATCH', `${at}/`, {
        data: { type: 'user', id: first?.id, attributes: { stamps_collected: '7' } },
      });
      assert.deepEqual(
        [changed.status, (await documentOf(changed)).data.attributes],
        [200, { nickname: 'alpha', stamps_collected: 7 }],
      );
      assert.equal((await send('PATCH', at, { data: { type: 'user', id: 'other' } })).status, 409);
      const seen: string[] = [];
      for (let next: string | null = `${BASE}?page[size]=3&fields[user]=nickname`; next !== null;) {
        const page = (await (await send('GET', next)).json()) as {
          data: Resource[];
          links: { next: string | null };
        };
        assert.ok(page.data.length <= 3 && page.data.every((one) => !('stamps_collected' in one.attributes)));
        seen.push(...page.data.map((one) => one.id));
        next = page.links.next;
      }
      assert.deepEqual(seen.sort(), people.map((one) => one.id).sort());
      const betas = (await (await send('GET', `${BASE}?filter[nickname]=beta`)).json()) as {
        data: Resource[];
      };
      assert.equal(betas.data.length, 2);
      for (const query of [
        'page[size]=0',
        'page[size]=101',
        'page[after]=x',
        'fields[user]=email',
        'sort=x',
      ]) {
        const response = await send('GET', `${BASE}?${query}`);
        const { errors } = await documentOf(response);
        assert.deepEqual([response.status, errors?.[0]?.source?.parameter], [400, query.split('=')[0]]);
      }
      assert.equal((await send('DELETE', at)).status, 204);
      for (const method of ['GET', 'PATCH', 'DELETE']) {
        assert.equal((await send(method, at, method === 'PATCH' ? user({}) : undefined)).status, 404, method);
      }
      assert.equal((await send('PUT', at, user({}))).status, 405);
      assert.equal((await send('GET', '/api/json/accounts/dogs')).status, 404);
    });

    it('a user’s own token reads its feed and changes itself, nobody else; removal closes it with 4500', async () => {
      const [ada, eve] = [await register('ada'), await register('eve')];
      const response = await send('POST', `${BASE}/${ada.id}/tokens`, '{"expires_in":60}', {
        'Content-Type': 'application/json',
      });
      const { access_token: token } = (await response.json()) as { access_token: string };
      assert.equal(response.status, 201);
      const own = { Authorization: `Bearer ${token}` };
      assert.equal((await send('PATCH', `${BASE}/${ada.id}`, user({ nickname: 'ada l.' }), own)).status, 200);
      assert.equal((await send('GET', `${BASE}/${ada.id}`, undefined, own)).status, 200);
      for (const [method, path] of [
        ['PATCH', `${BASE}/${eve.id}`],
        ['GET', `${BASE}/${eve.id}`],
        ['GET', BASE],
        ['DELETE', `${BASE}/${ada.id}`],
        ['POST', `${BASE}/${ada.id}/tokens`],
      ] as const) {
        assert.equal(
          (await send(method, path, method === 'PATCH' ? user({}) : undefined, own)).status,
          403,
          path,
        );
      }
      const client = await connect(service.port, { headers: own });
      client.send({ access_id: ada.id, after: 'now' });
      await client.typed('live');
      await service.push({ accessid: ada.id, created_at: 1, payload: 'hello' });
      assert.equal((await client.events(1))[0]?.payload, 'hello');
      const admin = { Authorization: `Bearer ${TOKEN}` };
      assert.equal((await send('DELETE', `${BASE}/${ada.id}`, undefined, admin)).status, 204);
      assert.equal((await client.closed())[0], 4500);
      await assert.rejects(connect(service.port, { headers: own }), /401/);
    });
  });
});
