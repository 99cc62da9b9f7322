/** The users socket with real clients, on both engines: the wire of the original, and what it may not do any more. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { readConfig, redacted } from '../../../src/config.ts';
import { eachEngine, type EngineDatabase } from '../../engines/each-engine.ts';
import { freePort } from '../../support/free-port.ts';
import { createDatabase } from '../../support/postgres.ts';
import { missing } from '../../support/programs.ts';
import { type Client, connect, type Service, startService, TOKEN } from '../../support/service.ts';
import { PATIENCE_MS, until } from '../../support/until.ts';
import { clientFrame, closeCodeIn, openWire, UPGRADE } from '../../support/wire.ts';

const KEY = 'third-party-key';
const PAGE = 'https://app.example';
const EVENTS = 'users-socket:events';
const USERS = '/api/json/accounts/users';
const FORBIDDEN = 'You do not have permission to make this request';

interface Person {
  readonly id: string;
  readonly name: string;
  readonly token: string;
  readonly jti: string;
}

describe('the users socket', () => {
  eachEngine((engine) => {
    let service: Service;
    let database: EngineDatabase;
    let port: number;
    before(async () => {
      database = await engine.createDatabase();
      port = await freePort();
      service = await startService({
        LASTSEEN_USERS_SOCKET_ORIGINS: 'localhost, https://app\\.example,^.+\\.example\\.com$',
        LASTSEEN_USERS_SOCKET_API_KEY: KEY,
        LASTSEEN_USERS_SOCKET_PORT: String(port),
        ...database.settings,
      });
    });
    after(() => service.stop());

    const open = (headers: Record<string, string>, query = '', protocols: string[] = []): Promise<Client> =>
      connect(service.port, { path: `/users/socket${query}`, headers, protocols });
    const thirdParty = (query?: string): Promise<Client> => open({ 'users-api-key': KEY }, query);
    const page = (query?: string): Promise<Client> => open({ Origin: PAGE }, query);
    const as = (person: Person, query?: string): Promise<Client> =>
      open({ Authorization: `Bearer ${person.token}` }, query);

    let people = 0;
    async function register(nickname = `person${(people += 1)}`): Promise<string> {
      const response = await service.post(
        USERS,
        { data: { type: 'user', attributes: { nickname } } },
        { 'Content-Type': 'application/vnd.api+json', Accept: 'application/vnd.api+json' },
      );
      assert.equal(response.status, 201);
      return ((await response.json()) as { data: { id: string } }).data.id;
    }

    async function login(id: string): Promise<{ token: string; jti: string; refresh: string }> {
      const response = await service.fetch(`${USERS}/${id}/tokens`, { method: 'POST' });
      assert.equal(response.status, 201);
      const issued = (await response.json()) as Record<string, string>;
      return {
        token: issued['access_token'] ?? '',
        jti: issued['jti'] ?? '',
        refresh: issued['refresh_token'] ?? '',
      };
    }

    async function person(nickname = `person${(people += 1)}`): Promise<Person> {
      const id = await register(nickname);
      return { id, name: nickname, ...(await login(id)) };
    }

    const pushFile = (user: string, name: string, type = 'FileUploaded'): Promise<void> =>
      service.push({ accessid: EVENTS, created_at: 1, payload: { type, user, file: { name } } });

    /** Everything that came before the answer to an echo that is asked for now. */
    async function soFar(client: Client, dialect: 'numeric' | 'named' = 'numeric'): Promise<string[]> {
      const mark = `mark ${Math.random()}`;
      client.send(dialect === 'numeric' ? { eventType: 10, message: mark } : { type: 'Echo', message: mark });
      await client.frame((frame) => frame.includes(mark));
      return client.frames.filter((frame) => !frame.includes('"message":"mark '));
    }

    const ask = async (client: Client, message: unknown): Promise<unknown> => {
      const before = client.frames.length;
      client.send(message);
      await client.frame(() => client.frames.length > before);
      return JSON.parse(client.frames[before] ?? '') as unknown;
    };

    it('an origin must match a pattern whole, or the upgrade is refused with 403; without one, a key or token is needed', async () => {
      for (const Origin of ['localhost', PAGE, 'https://a.example.com']) {
        await (await open({ Origin })).close();
      }
      for (const Origin of [
        'http://localhost',
        'evil-localhost',
        'localhost.evil.example',
        'https://app.example.evil',
        'https://appxexample',
        'https://a.example.com.evil',
        'null',
        'x'.repeat(300) + '.example.com',
      ]) {
        await assert.rejects(open({ Origin }), /403/, Origin);
      }
      await assert.rejects(open({}), /401/);
      await assert.rejects(open({ Origin: PAGE, Authorization: 'Bearer nonsense' }), /401/);
      const { token } = await person();
      await assert.rejects(open({ Origin: 'https://evil.example', Authorization: `Bearer ${token}` }), /403/);
    });

    it('a third party comes in by its key, without an origin or from any; a wrong key is refused', async () => {
      await (await thirdParty()).close();
      await (await open({ 'users-api-key': KEY, Origin: 'https://elsewhere.example' })).close();
      await assert.rejects(open({ 'users-api-key': `${KEY}x` }), /401/);
      await assert.rejects(open({ 'users-api-key': '', Origin: PAGE }), /401/);
    });

    it('a token is the user it names by id or nickname; one of nobody, a connector or too little is refused', async () => {
      const ada = await person();
      const issue = async (body: object): Promise<string> =>
        ((await (await service.post('/tokens', body)).json()) as { access_token: string }).access_token;
      const named = await issue({ sub: ada.name, scope: 'subscribe', access_ids: [ada.name] });
      for (const token of [ada.token, named]) {
        const client = await open({}, '', ['lastseen', `lastseen.bearer.${token}`]);
        assert.equal(client.socket.protocol, 'lastseen');
        const reply = await ask(client, { type: 'MetaRequest' });
        assert.deepEqual(reply, { type: 'MetaRequest', val: {}, username: ada.name });
        await client.close();
      }
      const bad = [
        { sub: 'no such user', scope: 'subscribe', access_ids: ['*'] },
        { sub: ada.id, scope: 'push', access_ids: ['*'] },
        { sub: ada.id, scope: 'subscribe', access_ids: ['other'] },
      ];
      for (const body of bad) {
        await assert.rejects(open({ Authorization: `Bearer ${await issue(body)}` }), /403/);
      }
      const twin = await person();
      await register(twin.name);
      const ambiguous = await issue({ sub: twin.name, scope: 'subscribe', access_ids: [twin.name] });
      await assert.rejects(
        open({ Authorization: `Bearer ${ambiguous}` }),
        /403/,
        'a name of two is nobody’s',
      );
    });

    it('the first message chooses the dialect, unless the address or the subprotocol has', async () => {
      const ada = await register();
      const numeric = await thirdParty();
      const named = await thirdParty();
      const byQuery = await thirdParty('?dialect=named');
      const byProtocol = await open({ 'users-api-key': KEY }, '', ['users.named']);
      const silent = await thirdParty();
      assert.equal(byProtocol.socket.protocol, 'users.named');
      assert.deepEqual(await ask(numeric, '{"eventType":10,"message":1}'), { eventType: 10, message: 1 });
      assert.deepEqual(await ask(named, '{"type":"Echo","message":1}'), { type: 'Echo', message: 1 });
      await pushFile(ada, 'f');
      const name = `person${people}`;
      const inNumbers = `{"eventType":5,"username":"${name}","file":{"name":"f"}}`;
      const inNames = `{"type":"FileUploaded","username":"${name}","file":{"name":"f"}}`;
      for (const [client, expected] of [
        [numeric, inNumbers],
        [silent, inNumbers],
        [named, inNames],
        [byQuery, inNames],
        [byProtocol, inNames],
      ] as const) {
        assert.equal(await client.frame((frame) => frame.includes('"file"')), expected);
      }
      assert.deepEqual(await ask(numeric, '{"type":"Echo","message":1}'), {
        eventType: 10,
        error: 'this socket uses the numeric dialect: a message must have `eventType`',
        code: 'ERR_REQUEST_INVALID',
      });
      await assert.rejects(thirdParty('?dialect=morse'), /400/);
      for (const client of [numeric, named, byQuery, byProtocol, silent]) {
        await client.close();
      }
    });

    it('an echo comes back to its sender only; a broadcast to every socket, in its dialect', async () => {
      const [one, two, three] = [await page(), await page('?dialect=named'), await thirdParty()];
      one.send('{"eventType":10,"message":"mine"}');
      assert.deepEqual(await soFar(one), ['{"eventType":10,"message":"mine"}']);
      assert.deepEqual(await soFar(two, 'named'), []);
      one.send('{"eventType":10,"message":{"a":1.0},"broadcast":true}');
      await one.frame((frame) => frame === '{"eventType":10,"message":{"a":1.0}}');
      await two.frame((frame) => frame === '{"type":"Echo","message":{"a":1.0}}');
      await three.frame((frame) => frame === '{"eventType":10,"message":{"a":1.0}}');
      for (const client of [one, two, three]) {
        await client.close();
      }
    });

    it('a message that is sent in the open callback is answered', async () => {
      for (let round = 0; round < 10; round += 1) {
        const socket = new WebSocket(`ws://127.0.0.1:${service.port}/users/socket`, { origin: PAGE });
        socket.on('open', () => {
          socket.send('{"eventType":10,"message":"early"}');
        });
        const [data] = (await once(socket, 'message', { signal: AbortSignal.timeout(PATIENCE_MS) })) as [
          Buffer,
        ];
        assert.equal(data.toString(), '{"eventType":10,"message":"early"}');
        socket.terminate();
      }
    });

    it('meta is set and got in four forms, in both dialects, by a third party and by the user', async () => {
      const ada = await person();
      const { name: username } = ada;
      const numeric = await thirdParty();
      const named = await as(ada);
      const val = { sister: 'sam', brother: 'mat' };
      const nine = { eventType: 9, username };
      assert.deepEqual(await ask(numeric, { ...nine, val }), { eventType: 9, val });
      assert.deepEqual(await ask(numeric, nine), { eventType: 9, val });
      const brother = { ...nine, property: 'brother' };
      const mat = 'Ada’s brother';
      assert.deepEqual(await ask(numeric, { ...brother, val: mat }), { eventType: 9, val: mat });
      assert.deepEqual(await ask(numeric, brother), { eventType: 9, val: mat });
      assert.deepEqual(await ask(numeric, { ...nine, property: 'cousin' }), { eventType: 9 });

      const request = { type: 'MetaRequest' };
      assert.deepEqual(await ask(named, request), {
        type: 'MetaRequest',
        val: { sister: 'sam', brother: mat },
        username,
      });
      assert.deepEqual(await ask(named, { ...request, username, property: 'brother' }), {
        type: 'MetaRequest',
        val: mat,
        property: 'brother',
        username,
      });
      assert.deepEqual(await ask(named, { ...request, username: ada.id, val: { only: 1 } }), {
        type: 'MetaRequest',
        val: { only: 1 },
        username: ada.id,
      });
      assert.deepEqual(await ask(numeric, { ...nine, username: ada.id }), { eventType: 9, val: { only: 1 } });
      for (const client of [numeric, named]) {
        await client.close();
      }
    });

    it('falsy values are values, names are plain, and numbers keep their text', async () => {
      const client = await thirdParty();
      const username = await register();
      for (const [property, text] of [
        ['zero', '0'],
        ['empty', '""'],
        ['no', 'false'],
        ['nil', 'null'],
        ['a.b.c', '9007199254740993'],
        ['$set', '1.0'],
        ['__proto__', '{"x":1}'],
        ["o'hara; drop table users", '"\\u0000"'],
      ] as const) {
        const message = `{"eventType":9,"username":"${username}","property":${JSON.stringify(property)}`;
        client.send(`${message},"val":${text}}`);
        client.send(`${message}}`);
        const replies = await soFar(client);
        assert.deepEqual(replies.slice(-2), Array(2).fill(`{"eventType":9,"val":${text}}`), property);
      }
      client.send(`{"eventType":9,"username":"${username}"}`);
      const all = (await soFar(client)).at(-1) ?? '';
      for (const part of ['"zero":0', '"nil":null', '"a.b.c":9007199254740993', '"$set":1.0']) {
        assert.ok(all.includes(part), all);
      }
      assert.match(all, /"__proto__":\{"x":1\}/);
      await client.close();
    });

    it('who may not touch a user’s meta is told so exactly, whether or not the user exists', async () => {
      const [ada, bob] = [await person(), await person()];
      const twin = await person();
      await register(twin.name);
      const [own, nobody, third] = [await as(ada), await page(), await thirdParty()];
      for (const username of [bob.name, bob.id, 'george3']) {
        const expected = { eventType: 9, error: FORBIDDEN };
        assert.deepEqual(await ask(own, { eventType: 9, username, property: 'a', val: 1 }), expected);
        assert.deepEqual(await ask(nobody, { eventType: 9, username }), expected);
      }
      assert.deepEqual(await ask(nobody, { eventType: 9 }), { eventType: 9, error: FORBIDDEN });
      assert.deepEqual(await ask(third, { eventType: 9, username: 'george3', val: { a: 1 } }), {
        eventType: 9,
        error: 'Could not find user george3',
      });
      assert.deepEqual(await ask(third, { eventType: 9, username: bob.name }), { eventType: 9, val: {} });
      const enter = { eventType: 9, error: 'Please enter a valid username' };
      assert.deepEqual(await ask(third, { eventType: 9 }), enter);
      assert.deepEqual(await ask(third, { eventType: 9, username: twin.name }), {
        eventType: 9,
        error: `several users are named "${twin.name}": give the id`,
      });
      const named = await thirdParty();
      assert.deepEqual(await ask(named, { type: 'MetaRequest', username: 'george3' }), {
        type: 'MetaRequest',
        error: 'Could not find user george3',
      });
      for (const client of [own, nobody, third, named]) {
        await client.close();
      }
    });

    it('a hundred writes of properties at once all survive', async () => {
      const username = await register();
      const clients = await Promise.all(Array.from({ length: 10 }, () => thirdParty()));
      await Promise.all(
        clients.flatMap((client, at) => {
          for (let nth = 0; nth < 10; nth += 1) {
            client.send({ eventType: 9, username, property: `p${at}.${nth}`, val: nth });
          }
          return client.frame(() => client.frames.length === 10);
        }),
      );
      const reader = clients[0] ?? assert.fail();
      const { val } = (await ask(reader, { eventType: 9, username })) as { val: Record<string, number> };
      assert.equal(Object.keys(val).length, 100);
      assert.equal(val['p9.7'], 7);
      for (const client of clients) {
        assert.ok(client.frames.every((frame) => !frame.includes('error')));
        await client.close();
      }
    });

    it('the meta of a user is bounded, also when many write; what is too much changes nothing', async () => {
      const username = await register();
      const clients = await Promise.all(Array.from({ length: 4 }, () => thirdParty()));
      const message = (property: string): object => ({
        eventType: 9,
        username,
        property,
        val: 'x'.repeat(20_000),
      });
      const replies = await Promise.all(clients.map((client, at) => ask(client, message(`p${at}`))));
      const errors = replies.filter((reply) => JSON.stringify(reply).includes('"error"'));
      assert.deepEqual(errors, [
        {
          eventType: 9,
          error: 'the meta of a user may have at most 65536 bytes: nothing was written',
        },
      ]);
      const one = clients[0] ?? assert.fail();
      const { val } = (await ask(one, { eventType: 9, username })) as { val: object };
      assert.equal(Object.keys(val).length, 3);
      const many = Object.fromEntries(Array.from({ length: 2_500 }, (_, at) => [`k${at}`, at]));
      assert.deepEqual(await ask(one, { eventType: 9, username, val: many }), { eventType: 9, val: many });
      for (const client of clients) {
        await client.close();
      }
    });

    it('meta never enters the log, and goes with its user', async () => {
      const ada = await person();
      const client = await thirdParty();
      const secret = `personal ${Math.random()}`;
      await ask(client, { eventType: 9, username: ada.id, val: { note: secret } });
      assert.ok(!JSON.stringify(await database.rows('select * from events')).includes(secret));
      assert.equal((await service.fetch(`${USERS}/${ada.id}`, { method: 'DELETE' })).status, 204);
      assert.deepEqual(await database.rows(`select * from user_meta where user_id = '${ada.id}'`), []);
      await client.close();
    });

    it('a user sees its own events, a third party everybody’s, an anonymous socket none', async () => {
      const [ada, bob] = [await person(), await person()];
      const [a, b, third, nobody] = [await as(ada), await as(bob), await thirdParty(), await page()];
      await pushFile(ada.id, 'one');
      await pushFile(bob.id, 'two', 'FileRemoved');
      await service.push(
        { accessid: EVENTS, created_at: 1, payload: { type: 'FileUploaded', user: 7, file: {} } },
        { accessid: EVENTS, created_at: 1, payload: 'no event' },
        { accessid: EVENTS, created_at: 1, payload: { type: 'Login', user: ada.id } },
        { accessid: EVENTS, created_at: 1, payload: { type: 'BucketUploaded', user: ada.id, file: {} } },
        {
          accessid: EVENTS,
          created_at: 1,
          payload: { type: 'BucketUploaded', user: ada.id, bucket: { name: 'b' } },
        },
      );
      await service.push({
        accessid: EVENTS,
        created_at: 1,
        payload: { type: 'BucketRemoved', user: bob.id, bucket: { name: 'b' } },
      });
      const one = `{"eventType":5,"username":"${ada.name}","file":{"name":"one"}}`;
      const two = '{"eventType":6,"file":{"name":"two"}}';
      const three = `{"eventType":7,"username":"${ada.name}","bucket":{"name":"b"}}`;
      const four = '{"eventType":8,"bucket":{"name":"b"}}';
      await third.frame((frame) => frame === four);
      await a.frame((frame) => frame === three);
      await b.frame((frame) => frame === four);
      assert.deepEqual(await soFar(third), [one, two, three, four]);
      assert.deepEqual(await soFar(a), [one, three]);
      assert.deepEqual(await soFar(b), [two, four]);
      assert.deepEqual(await soFar(nobody), []);
      for (const client of [a, b, third, nobody]) {
        await client.close();
      }
    });

    it('Activated, Login, Logout and Removed are told to the user’s own sockets and to third parties', async () => {
      const third = await thirdParty('?dialect=named');
      const ada = await person();
      const { name } = ada;
      const [own, other] = [await as(ada, '?dialect=named'), await as(await person(), '?dialect=named')];
      const again = await login(ada.id);
      await own.frame((frame) => frame === `{"type":"Login","username":"${name}"}`);
      // Refreshing is no login.
      const refreshed = await service.fetch('/oauth/token', {
        method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: again.refresh }),
      });
      const { jti } = (await refreshed.json()) as { jti: string };
      assert.equal((await service.fetch(`/tokens/${again.jti}`, { method: 'DELETE' })).status, 204);
      assert.equal((await service.fetch(`/tokens/${jti}`, { method: 'DELETE' })).status, 204);
      await own.frame((frame) => frame === `{"type":"Logout","username":"${name}"}`);
      assert.equal((await service.fetch(`${USERS}/${ada.id}`, { method: 'DELETE' })).status, 204);
      assert.deepEqual(await own.closed(), [4500, 'token revoked']);
      assert.deepEqual(own.frames, [
        `{"type":"Login","username":"${name}"}`,
        `{"type":"Logout","username":"${name}"}`,
        `{"type":"Removed","username":"${name}"}`,
      ]);
      await third.frame((frame) => frame.includes('Removed'));
      assert.deepEqual(
        third.frames.filter((frame) => frame.includes(`"${name}"`)),
        ['Activated', 'Login', 'Login', 'Logout', 'Removed'].map(
          (type) => `{"type":"${type}","username":"${name}"}`,
        ),
      );
      assert.deepEqual(await soFar(other, 'named'), []);
      for (const client of [third, other]) {
        await client.close();
      }
    });

    it('resume gives what was missed of both feeds, in order, once, and then the live ones, each with its cursor', async () => {
      const ada = await person();
      const [first, third] = [await as(ada), await thirdParty()];
      const start = (await ask(first, { type: 'resume', after: 'now' })) as Record<string, string>;
      assert.equal(start['type'], 'resumed');
      await first.typed('live');
      await first.close();
      await third.close();
      const bob = await register();
      const names: string[] = [];
      for (let at = 0; at < 30; at += 1) {
        names.push(`f${at}`);
        await Promise.all([pushFile(bob, 'not for ada'), at % 10 === 9 ? login(ada.id) : undefined]);
        await pushFile(ada.id, `f${at}`);
      }
      const told = (client: Client): { cursor: string; file?: { name: string }; eventType: number }[] =>
        client.frames
          .filter((frame) => frame.startsWith('{"eventType":'))
          .map((frame) => JSON.parse(frame) as { cursor: string; eventType: number });
      const back = await as(ada, `?after=${start['cursor'] ?? ''}`);
      await back.typed('live');
      const all = told(back);
      assert.deepEqual(
        all.map((event) => event.file?.name ?? event.eventType),
        names.flatMap((name, at) => (at % 10 === 9 ? [1, name] : [name])),
      );
      await pushFile(ada.id, 'live');
      await back.frame((frame) => frame.includes('"live"}'));
      assert.equal(back.frames.filter((frame) => frame.includes('"type":"live"')).length, 1);

      for (const [at, event] of all.entries()) {
        if (at % 11 !== 0) {
          continue;
        }
        // By the address, or by a message.
        const again = await as(ada, at % 2 === 0 ? `?after=${event.cursor}` : '');
        if (at % 2 === 1) {
          again.send({ type: 'resume', after: event.cursor });
        }
        const head = told(back).at(-1)?.cursor;
        assert.deepEqual(await again.typed('resumed'), { type: 'resumed', cursor: event.cursor, head });
        await again.frame((frame) => frame.includes('"live"}'));
        assert.deepEqual(told(again), [
          ...all.slice(at + 1),
          told(back).find(({ file }) => file?.name === 'live'),
        ]);
        await again.close();
      }
      await back.close();
    });

    it('resume while events keep coming leaves no gap and repeats nothing', async () => {
      const ada = await person();
      const third = await thirdParty('?after=now');
      await third.typed('live');
      const stop = new AbortController();
      let pushed = 0;
      const pushing = (async () => {
        while (!stop.signal.aborted) {
          await pushFile(ada.id, `n${(pushed += 1)}`);
        }
      })();
      const filesOf = (client: Client): { name: string; cursor: string }[] =>
        client.frames
          .map((frame) => JSON.parse(frame) as { file?: { name: string }; cursor: string })
          .flatMap(({ file, cursor }) => (file === undefined ? [] : [{ name: file.name, cursor }]));
      let seen: { name: string; cursor: string }[] = [];
      for (let round = 0; round < 6; round += 1) {
        const after = seen.at(-1)?.cursor;
        const client = await as(ada, after === undefined ? '?after=start' : `?after=${after}`);
        await client.frame(() => filesOf(client).length >= 5);
        seen = [...seen, ...filesOf(client)];
        await client.close();
      }
      stop.abort();
      await pushing;
      assert.deepEqual(
        seen.map(({ name }) => name),
        seen.map((_, at) => `n${at + 1}`),
      );
      await third.frame((frame) => frame.includes(`"n${pushed}"`));
      assert.equal(filesOf(third).length, pushed);
      await third.close();
    });

    it('a cursor that cannot be honoured is refused with the floor, and the socket goes on', async () => {
      const ada = await person();
      const client = await as(ada);
      const { cursor } = (await ask(client, { type: 'resume', after: 'start' })) as { cursor: string };
      await client.typed('live');
      for (const [after, code] of [
        ['nonsense', 'ERR_CURSOR_MALFORMED'],
        [`${cursor.slice(0, 8)}.zzzzzz`, 'ERR_CURSOR_AHEAD'],
        ['00000000.1', 'ERR_CURSOR_EPOCH'],
      ] as const) {
        const reply = (await ask(client, { type: 'resume', after })) as Record<string, unknown>;
        assert.deepEqual([reply['eventType'], reply['code'], reply['floor']], [0, code, cursor]);
      }
      await pushFile(ada.id, 'after the refusals');
      await client.frame((frame) => frame.includes('after the refusals'));
      await client.close();
      const nobody = await page();
      assert.deepEqual(await ask(nobody, { type: 'resume', after: 'start' }), {
        eventType: 0,
        error: FORBIDDEN,
        code: 'ERR_FORBIDDEN',
      });
      await nobody.close();
    });

    it('bad input gets an error that names the fault, and the connection is kept', async () => {
      const client = await page();
      const code = 'ERR_REQUEST_INVALID';
      for (const [message, reply] of [
        ['nope', { eventType: 0, error: 'the message must be a JSON object, got "nope"', code }],
        ['{}', { eventType: 0, error: 'the message must have `eventType` or `type`', code }],
        [
          '{"eventType":99}',
          { eventType: 0, error: '`eventType` must be 9 (meta) or 10 (echo), got 99', code },
        ],
        ['{"eventType":10}', { eventType: 10, error: '`message` is required: any JSON value', code }],
        ['{"eventType":9,"property":7}', { eventType: 9, error: '`property` must be a string, got 7' }],
      ] as const) {
        assert.deepEqual(await ask(client, message), reply);
      }
      const before = client.frames.length;
      client.socket.send(Buffer.from([0xff, 0xfe]), { binary: true });
      await client.frame(() => client.frames.length > before);
      assert.match(client.frames.at(-1) ?? '', /bytes that are not UTF-8/);
      assert.deepEqual(await ask(client, '{"eventType":10,"message":"still here"}'), {
        eventType: 10,
        message: 'still here',
      });
      await client.close();
    });

    it('hostile bytes end their own socket only; who floods and does not read is not answered without end', async () => {
      const witness = await thirdParty();
      const raw = async () => {
        const wire = await openWire(service.port);
        const head = ['GET /users/socket HTTP/1.1', 'Host: x', `Origin: ${PAGE}`, ...UPGRADE];
        wire.write(`${head.join('\r\n')}\r\n\r\n`);
        await wire.until((received) => received.includes('\r\n\r\n'));
        return wire;
      };
      for (const [bytes, code] of [
        [clientFrame('x'.repeat(65_537)), 1009],
        [clientFrame('{}', { isMasked: false }), 1002],
        [clientFrame('{}', { reserved: 7 }), 1002],
        [clientFrame(Buffer.from([0xc0, 0x80])), 1007],
      ] as const) {
        const wire = await raw();
        wire.write(bytes);
        assert.equal(closeCodeIn(await wire.ended()), code);
      }
      const deep = await page();
      deep.send(`{"eventType":9,"property":"p","val":${'['.repeat(30_000)}${']'.repeat(30_000)}}`);
      await deep.frame((frame) => frame.includes('must not nest deeper'));
      await deep.close();

      const flood = new WebSocket(`ws://127.0.0.1:${service.port}/users/socket`, { origin: PAGE });
      await once(flood, 'open');
      flood.pause();
      const message = JSON.stringify({ eventType: 10, message: 'y'.repeat(60_000) });
      for (let at = 0; at < 800; at += 1) {
        flood.send(message);
      }
      const heap = process.memoryUsage().arrayBuffers;
      for (let at = 0; at < 20; at += 1) {
        assert.deepEqual(await ask(witness, { eventType: 10, message: at }), { eventType: 10, message: at });
      }
      assert.ok(flood.bufferedAmount > 20_000_000, 'the server has stopped reading it');
      assert.ok(process.memoryUsage().arrayBuffers - heap < 20_000_000);
      flood.terminate();
      await witness.close();
    });

    it('drops and revocations close the sockets concerned, and GET /clients lists them', async () => {
      const [ada, bob] = [await person(), await person()];
      const [a, b, c] = [await as(ada), await as(ada), await as(bob)];
      const listed = (await (await service.fetch('/clients')).json()) as {
        access_id: string;
        gateway: string;
        lag: number;
      }[];
      assert.deepEqual(
        listed
          .filter(({ gateway, access_id: id }) => gateway === 'users-socket' && [ada.id, bob.id].includes(id))
          .map(({ access_id, lag }) => [access_id, lag])
          .sort(),
        [ada.id, ada.id, bob.id].map((id) => [id, 0]).sort(),
      );
      await service.post('/drop_user', { drop_access_id: ada.id });
      assert.deepEqual(await a.closed(), [1000, 'close']);
      assert.deepEqual(await b.closed(), [1000, 'close']);
      assert.equal((await service.fetch(`/tokens/${bob.jti}`, { method: 'DELETE' })).status, 204);
      assert.deepEqual(await c.closed(), [4500, 'token revoked']);
    });

    it('the port of its own takes any path and keeps the query; it serves nothing else', async () => {
      const client = await connect(port, { path: '/any/path?dialect=named', headers: { Origin: PAGE } });
      assert.deepEqual(await ask(client, '{"type":"Echo","message":1}'), { type: 'Echo', message: 1 });
      await client.close();
      await assert.rejects(connect(port, { path: '/', headers: { Origin: 'https://evil.example' } }), /403/);
      const response = await fetch(`http://127.0.0.1:${port}/health`);
      assert.equal(response.status, 426);
      const other = await openWire(port);
      other.write('GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
      assert.match(await other.ended(), /^HTTP\/1\.1 400 /);
    });
  });
});

describe('the users socket and the store', () => {
  eachEngine((engine) => {
    it('after a restart both feeds come in the order of the log; what is forgotten is refused with the floor', async () => {
      const database = await engine.createDatabase();
      const start = (settings: Record<string, string> = {}): Promise<Service> =>
        startService({ LASTSEEN_USERS_SOCKET_API_KEY: KEY, ...settings, ...database.settings });
      const open = (service: Service, after: string): Promise<Client> =>
        connect(service.port, {
          path: `/users/socket?dialect=named&after=${after}`,
          headers: { 'users-api-key': KEY },
        });
      let service = await start();
      const expected: string[] = [];
      for (let round = 0; round < 12; round += 1) {
        const response = await service.post(USERS, '{"data":{"type":"user","attributes":{}}}', {
          'Content-Type': 'application/vnd.api+json',
        });
        const { id } = ((await response.json()) as { data: { id: string } }).data;
        expected.push(`Activated ${id}`);
        const names = Array.from({ length: 210 }, (_, at) => `${round}/${at}`);
        await service.push(
          ...names.map((name) => ({
            accessid: EVENTS,
            created_at: 1,
            payload: { type: 'FileUploaded', user: id, file: name },
          })),
        );
        expected.push(...names.map((name) => `FileUploaded ${name}`));
      }
      await service.stop();

      service = await start();
      const client = await open(service, 'start');
      await client.frame((frame) => frame.startsWith('{"type":"live"'));
      const told = client.frames
        .filter((frame) => frame.includes('"username"'))
        .map((frame) => JSON.parse(frame) as Record<string, string>);
      assert.deepEqual(
        told.map(({ type, username, file }) => `${type} ${String(file ?? username)}`),
        expected,
      );
      await client.close();
      await service.stop();

      service = await start({ LASTSEEN_RETENTION: '500/access_id' });
      const floor = told.filter(({ file }) => file !== undefined).at(-501)?.['cursor'];
      // The first look at what may be forgotten is taken at the start, and forgets step by step.
      let refused: Record<string, string> = {};
      await until(
        async () => {
          const old = await open(service, told[5]?.['cursor'] ?? '');
          const answer = await old.frame((frame) => frame.includes('"error"') || frame.includes('"live"'));
          refused = JSON.parse(answer) as Record<string, string>;
          old.socket.terminate();
          return refused['floor'] === floor;
        },
        () => `the floor ${floor ?? ''}, got ${JSON.stringify(refused)}`,
      );
      assert.equal(refused['code'], 'ERR_CURSOR_TOO_OLD');
      const from = await open(service, floor ?? '');
      await from.frame((frame) => frame.startsWith('{"type":"live"'));
      const rest = from.frames.filter((frame) => frame.includes('"username"'));
      assert.equal(rest.filter((frame) => frame.includes('FileUploaded')).length, 500);
      assert.ok(rest.at(-1)?.includes(`"cursor":"${told.at(-1)?.['cursor'] ?? ''}"`));
      await from.close();
      await service.stop();
    });
  });

  it('what happens on one node is told on the others', { skip: missing('PostgreSQL') }, async () => {
    const database = await createDatabase();
    const settings = { DATABASE_URL: database.url, LASTSEEN_USERS_SOCKET_API_KEY: KEY };
    const [one, other] = await Promise.all([startService(settings), startService(settings)]);
    const headers = { 'users-api-key': KEY };
    const client = await connect(other.port, { path: '/users/socket', headers });
    const response = await one.post(USERS, '{"data":{"type":"user","attributes":{"nickname":"ada"}}}', {
      'Content-Type': 'application/vnd.api+json',
    });
    const { id } = ((await response.json()) as { data: { id: string } }).data;
    await client.frame((frame) => frame === '{"eventType":3,"username":"ada"}');
    await one.fetch(`${USERS}/${id}`, { method: 'DELETE' });
    await client.frame((frame) => frame === '{"eventType":4,"username":"ada"}');
    await client.close();
    await Promise.all([one.stop(), other.stop()]);
    await database.drop();
  });
});

describe('settings of the users socket', () => {
  it('with an empty list the key comes in, and no page does', async () => {
    const service = await startService({ LASTSEEN_USERS_SOCKET_API_KEY: KEY });
    const path = '/users/socket';
    const client = await connect(service.port, { path, headers: { 'users-api-key': KEY } });
    await client.close();
    const Origin = service.url;
    await assert.rejects(connect(service.port, { path, headers: { Origin } }), /403/);
    // The admin’s token is a third party too.
    await (await connect(service.port, { path, headers: { Authorization: `Bearer ${TOKEN}` } })).close();
    await service.stop();
  });

  it('a drain closes its sockets with 1012', async () => {
    const service = await startService({ LASTSEEN_USERS_SOCKET_ORIGINS: '.*' });
    const client = await connect(service.port, { path: '/users/socket', headers: { Origin: 'x' } });
    await service.stop();
    assert.deepEqual(await client.closed(), [1012, 'restarting']);
  });

  it('a wrong one stops the start by name; the key is shown nowhere', () => {
    assert.throws(
      () => readConfig({ LASTSEEN_USERS_SOCKET_ORIGINS: 'a)(b' }),
      /^.*LASTSEEN_USERS_SOCKET_ORIGINS: /,
    );
    assert.throws(
      () => readConfig({ LASTSEEN_USERS_SOCKET_API_KEY: 'with space' }),
      (error: Error) =>
        error.message.startsWith('LASTSEEN_USERS_SOCKET_API_KEY: ') && !error.message.includes('with space'),
    );
    assert.throws(() => readConfig({ LASTSEEN_USERS_SOCKET_PORT: '0' }), /LASTSEEN_USERS_SOCKET_PORT: /);
    const shown = JSON.stringify(redacted(readConfig({ LASTSEEN_USERS_SOCKET_API_KEY: KEY })));
    assert.ok(!shown.includes(KEY));
  });

  it('they stand in the documentation of the wire', () => {
    const protocol = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8');
    for (const name of ['ORIGINS', 'API_KEY', 'PORT']) {
      assert.ok(protocol.includes(`LASTSEEN_USERS_SOCKET_${name}`), name);
    }
  });
});
