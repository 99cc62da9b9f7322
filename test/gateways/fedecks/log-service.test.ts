/** Fedecks devices on the log: their feed, what they send, and the rights behind their tokens, on both engines. */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { deflateSync } from 'node:zlib';
import { pino } from 'pino';
import { charlist, type Term, tuple } from '../../../src/gateways/fedecks/etf/term.ts';
import { createDeviceTokens } from '../../../src/gateways/fedecks/tokens.ts';
import { systemRuntime } from '../../../src/system-runtime.ts';
import { eachEngine } from '../../engines/each-engine.ts';
import {
  authOf,
  type Device,
  field,
  openDevice,
  refusedDevice,
  TOKEN_PLEASE,
} from '../../support/devices.ts';
import { createDatabase } from '../../support/postgres.ts';
import { missing } from '../../support/programs.ts';
import { startProxy } from '../../support/proxy.ts';
import { type Service, startService } from '../../support/service.ts';
import { clientFrame, openWire, UPGRADE } from '../../support/wire.ts';

const ID = 'fedecks-device-id';
const TOKEN = 'fedecks-token';
const DEVICE_SECRET = 'the secret of all devices';

interface Client {
  readonly client_id: string;
  readonly client_secret: string;
}

describe('devices on the log', () => {
  eachEngine((engine) => {
    let service: Service;
    let fleet: Client;
    const lines: string[] = [];
    const secrets = new Set<string>([DEVICE_SECRET]);
    let devices = 0;

    before(async () => {
      const { settings } = await engine.createDatabase();
      const logger = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
      service = await startService({ LASTSEEN_DEVICE_SECRET: DEVICE_SECRET, ...settings }, undefined, {
        logger,
      });
      fleet = await createClient('subscribe push', ['fleet-*']);
    });
    after(() => service.stop());

    const newId = (): string => `fleet-${(devices += 1)}`;
    async function createClient(scope: string, accessIds: string[]): Promise<Client> {
      const response = await service.post('/oauth/clients', { name: 'fleet', scope, access_ids: accessIds });
      assert.equal(response.status, 201);
      const client = (await response.json()) as Client;
      secrets.add(client.client_secret);
      return client;
    }
    const credentials = (id: Term, client = fleet): Record<string, Term> => ({
      [ID]: id,
      username: client.client_id,
      password: client.client_secret,
    });
    const open = (id: string, client = fleet, port = service.port): Promise<Device> =>
      openDevice(port, credentials(id, client));
    async function tokenOf(device: Device): Promise<string> {
      device.send(TOKEN_PLEASE);
      const token = await device.token(device.tokens.length + 1);
      secrets.add(token);
      return token;
    }
    const withToken = (id: string, token: string): Record<string, Term> => ({ [ID]: id, [TOKEN]: token });
    const resume = (cursor: Term): Term => new Map([['resume', cursor]]);
    const push = (id: string, ...payloads: unknown[]): Promise<void> =>
      service.push(...payloads.map((payload, at) => ({ accessid: id, created_at: at, payload })));
    const versions = (terms: readonly Term[]): Term[] =>
      terms.flatMap((term) => field(term, 'version') ?? []);

    it('G1 G2: a device gets what is pushed from its connection on, as maps', async () => {
      const id = newId();
      await push(id, 'before');
      const device = await open(id);
      await push(id, { temperature: 21.5, name: 'attic', on: true, none: null, list: [1, 2, 300] }, 'two');
      device.send(TOKEN_PLEASE);
      const [first, second] = await device.some(2);
      const page = await service.page(id);
      const payload = new Map<Term, Term>([
        ['temperature', 21.5],
        ['name', 'attic'],
        ['on', true],
        ['none', null],
        ['list', [1, 2, 300]],
      ]);
      const shared = [
        ['cursor', page.events[1]?.cursor],
        ['version', 2],
        ['created_at', 0],
      ] as [string, Term][];
      assert.deepEqual(first, new Map<Term, Term>([...shared, ['payload', payload]]));
      assert.deepEqual([field(second, 'version'), field(second, 'payload')], [3, 'two']);
      assert.ok(device.isBinary.every(Boolean));
      await device.close();
    });

    it('nothing is sent before the first frame of the client, and then nothing is missing', async () => {
      const id = newId();
      const wire = await openWire(service.port);
      const auth = authOf(credentials(id));
      wire.write(
        `${['GET /fedecks/websocket HTTP/1.1', 'Host: 127.0.0.1', `x-fedecks-auth: ${auth}`, ...UPGRADE].join('\r\n')}\r\n\r\n`,
      );
      await wire.until((received) => received.includes('\r\n\r\n'));
      const other = await open(id);
      other.socket.ping();
      await push(id, 'hello device');
      await other.some(1);
      const received = await wire.until(() => true);
      assert.ok(received.startsWith('HTTP/1.1 101 ') && received.endsWith('\r\n\r\n'));
      wire.write(clientFrame('ping', { opcode: 9 }));
      await wire.until((text) => text.includes('hello device'));
      wire.cut();
      await other.close();
    });

    it('G3: a device that was offline for 1,000 events gets them in order, also when cut in the middle', async () => {
      const id = newId();
      const proxy = await startProxy(service.port);
      const first = await open(id);
      const token = await tokenOf(first);
      await push(id, 'last seen');
      let cursor = field((await first.some(1))[0], 'cursor') as string;
      await first.close();
      const filling = 'x'.repeat(2_000);
      for (let batch = 0; batch < 10; batch += 1) {
        await push(id, ...Array.from({ length: 100 }, (_, at) => [batch * 100 + at, filling]));
      }
      const got: Term[] = [];
      let cuts = 0;
      while (got.length < 1_000) {
        const device = await openDevice(proxy.port, withToken(id, token));
        device.send(resume(cursor));
        const wanted = cuts < 3 ? 1 + 100 * (cuts + 1) : 1_001 - got.length;
        await device.some(wanted);
        if (cuts < 3) {
          proxy.cut();
        }
        await (cuts < 3 ? device.closed() : device.close());
        cuts += 1;
        assert.equal(field(device.terms[0], 'resumed'), cursor);
        // What came behind that was lost with the device.
        got.push(...device.terms.slice(1, wanted));
        cursor = field(got.at(-1), 'cursor') as string;
      }
      assert.equal(cuts, 4);
      assert.deepEqual(
        versions(got),
        Array.from({ length: 1_000 }, (_, at) => at + 2),
      );
      assert.deepEqual(
        got.map((term) => (field(term, 'payload') as Term[])[0]),
        Array.from({ length: 1_000 }, (_, at) => at),
      );
      await proxy.close();
    });

    it('G6: a refused cursor is told with its floor, and nothing comes until a resume that holds', async () => {
      const id = newId();
      await push(id, 'one', 'two');
      const { events } = await service.page(id);
      const epoch = events[0]?.cursor.split('.')[0] ?? '';
      const device = await open(id);
      let count = 0;
      for (const [cursor, code] of [
        ['nonsense', 'ERR_CURSOR_MALFORMED'],
        [`${epoch}.zzzzzz`, 'ERR_CURSOR_AHEAD'],
        ['aaaaaaaa.1', 'ERR_CURSOR_EPOCH'],
        [7, 'ERR_CURSOR_MALFORMED'],
        [charlist('start'), 'ERR_CURSOR_MALFORMED'],
      ] as [Term, string][]) {
        device.send(resume(cursor));
        count += 1;
        const error = (await device.some(count))[count - 1];
        assert.equal(field(error, 'error'), code);
        assert.equal(typeof field(error, 'detail'), 'string');
        if (typeof cursor === 'string') {
          assert.equal(field(error, 'floor'), `${epoch}.0`);
        }
      }
      await push(id, 'three');
      const other = await open(id);
      other.send(resume('start'));
      await other.some(4);
      device.send('still connected');
      await device.some(count + 1);
      assert.deepEqual(versions(device.terms.slice(0, -1)), []);
      device.send(resume(`${epoch}.0`));
      const terms = (await device.some(count + 5)).slice(count + 1);
      assert.equal(field(terms[0], 'resumed'), `${epoch}.0`);
      assert.deepEqual(versions(terms), [1, 2, 3]);
      // Again, and from another place: what comes after "resumed" is whole.
      device.send(resume(events[1]?.cursor ?? ''));
      const again = (await device.some(count + 7)).slice(count + 5);
      assert.deepEqual([field(again[0], 'resumed'), ...versions(again)], [events[1]?.cursor, 3]);
      await Promise.all([device.close(), other.close()]);
    });

    it('G1: what a device sends is in the log before it is told so; text frames are nowhere', async () => {
      const id = newId();
      const device = await open(id);
      const terms: [Term, unknown][] = [
        ['token_please', 'token_please'],
        [new Map<Term, Term>([['t', 21.5]]), { t: 21.5 }],
        [tuple('a', true, null), ['a', true, null]],
        [
          new Map<Term, Term>([
            ['resume', 'now'],
            ['and', 1],
          ]),
          { resume: 'now', and: 1 },
        ],
        [new Map<Term, Term>([[1, 2]]), { $map: [[1, 2]] }],
      ];
      for (const [at, [term, json]] of terms.entries()) {
        device.raw('text');
        device.send(term);
        const said = (await device.some(at + 1))[at];
        const { events } = await service.page(`${id}/up`);
        assert.deepEqual(events.at(-1)?.payload, json);
        assert.deepEqual([field(said, 'stored'), field(said, 'version')], [events.at(-1)?.cursor, at + 1]);
      }
      device.send(12345678901234567890n);
      await device.some(6);
      const text = await (await service.fetch(`/events?access_id=${id}/up`)).text();
      assert.match(text, /"payload":12345678901234567890\}/);
      for (const bytes of [
        Buffer.from('raw'),
        Buffer.from([131, 255]),
        Buffer.from('83640003666f6f', 'hex'),
      ]) {
        const count = device.terms.length;
        device.raw(bytes);
        await device.some(count + 1);
        const { events } = await service.page(`${id}/up`);
        assert.deepEqual(events.at(-1)?.payload, { $binary: bytes.toString('base64') });
      }
      assert.equal((await service.page(`${id}/up`)).events.length, 9);
      await device.close();
    });

    it('what may not or cannot be stored is told so, and the device stays', async () => {
      const reader = await createClient('subscribe', ['reader-*']);
      const device = await open('reader-1', reader);
      device.send('hello');
      assert.equal(field((await device.some(1))[0], 'error'), 'ERR_FORBIDDEN');
      const own = await createClient('subscribe push', ['alone']);
      const alone = await open('alone', own);
      alone.raw(Buffer.from('raw'));
      assert.equal(field((await alone.some(1))[0], 'error'), 'ERR_FORBIDDEN');
      const id = newId();
      const large = await open(id);
      large.raw(Buffer.alloc(1_000_000));
      assert.equal(field((await large.some(1))[0], 'error'), 'ERR_TOO_LARGE');
      large.send('small');
      assert.equal(field((await large.some(2))[1], 'version'), 1);
      await push('reader-1', 'still here');
      assert.equal(field((await device.some(2))[1], 'payload'), 'still here');
      await Promise.all([device.close(), alone.close(), large.close()]);
    });

    it('a payload that no term can hold is named in its place: versions have no gap', async () => {
      const id = newId();
      const device = await open(id);
      device.socket.ping();
      const deep = `${'['.repeat(65)}1${']'.repeat(65)}`;
      const events = ['"one"', deep, '1e400', '"four"'].map(
        (payload, at) => `{"accessid":"${id}","created_at":${at},"payload":${payload}}`,
      );
      assert.equal(await (await service.post('/push_events', `[${events.join(',')}]`)).text(), 'true');
      const terms = await device.some(4);
      assert.deepEqual(versions(terms), [1, 2, 3, 4]);
      assert.deepEqual(
        terms.map((term) => [field(term, 'created_at'), field(term, 'payload'), field(term, 'unsendable')]),
        [
          [0, 'one', undefined],
          [1, undefined, 'must not nest deeper than 64 levels'],
          [2, undefined, 'a float must be finite'],
          [3, 'four', undefined],
        ],
      );
      await device.close();
    });

    it('only a client that covers the device and may subscribe lets it in', async () => {
      const pusher = await createClient('push', ['*']);
      for (const [id, fields] of [
        ['elsewhere', credentials('elsewhere')],
        ['any', credentials('any', pusher)],
        ['$control', credentials('$control', await createClient('subscribe', ['*', '$control']))],
        ['star*', credentials('star*', await createClient('subscribe', ['*']))],
        ['fleet-x', { ...credentials('fleet-x'), password: 'wrong' }],
        ['fleet-x', { ...credentials('fleet-x'), username: randomUUID() }],
        ['fleet-x', { [ID]: 'fleet-x' }],
      ] as const) {
        const refusal = await refusedDevice(service.port, fields);
        assert.deepEqual([refusal.status, refusal.body], [403, ''], id);
        assert.equal(refusal.headers['x-fedecks-error'], 'authentication_failed', id);
      }
      const longest = `fleet-${'x'.repeat(247)}`;
      const device = await open(longest);
      device.send('fits');
      await device.some(1);
      const token = await tokenOf(device);
      await device.close();
      await (await openDevice(service.port, withToken(longest, token))).close();
    });

    it('G10: removing the client closes its devices with 4500, and their tokens hold no more', async () => {
      const client = await createClient('subscribe push', ['gone-*']);
      const device = await open('gone-1', client);
      const token = await tokenOf(device);
      const silent = await open('gone-2', client);
      const other = await open(newId());
      assert.equal(
        (await service.fetch(`/oauth/clients/${client.client_id}`, { method: 'DELETE' })).status,
        204,
      );
      assert.equal((await device.closed())[0], 4500);
      assert.equal((await silent.closed())[0], 4500);
      const refusal = await refusedDevice(service.port, withToken('gone-1', token));
      assert.deepEqual(
        [refusal.status, refusal.body, refusal.headers['x-fedecks-error']],
        [403, '', 'invalid_token'],
      );
      other.send('still here');
      await other.some(1);
      await other.close();
    });

    it('G10: a drop closes with 1000 whatever the device has said; with revoke its tokens end with it', async () => {
      const id = newId();
      const [reading, silent, stopped] = [await open(id), await open(id), await open(id)];
      const token = await tokenOf(reading);
      stopped.send(resume('nonsense'));
      await stopped.some(1);
      const connected = (await (await service.fetch('/clients')).json()) as {
        access_id: string;
        gateway: string;
      }[];
      const listed = connected.filter((one) => one.access_id === id).map((one) => one.gateway);
      assert.deepEqual(listed, ['fedecks', 'fedecks', 'fedecks']);
      await service.post('/drop_user', { drop_access_id: id });
      for (const device of [reading, silent, stopped]) {
        assert.equal((await device.closed())[0], 1000);
      }
      const back = await openDevice(service.port, withToken(id, token));
      const next = await tokenOf(back);
      await service.post('/drop_user', { drop_access_id: id, revoke: true });
      assert.ok([1000, 4500].includes((await back.closed())[0]));
      for (const old of [token, next]) {
        assert.equal(
          (await refusedDevice(service.port, withToken(id, old))).headers['x-fedecks-error'],
          'invalid_token',
        );
      }
      await (await open(id)).close();
    });

    it('one token of a device can be listed and revoked like any other', async () => {
      const id = newId();
      const device = await open(id);
      const tokens = [await tokenOf(device), await tokenOf(device)];
      const list = (await (await service.fetch('/tokens')).json()) as { sub: string; jti: string }[];
      const mine = list.filter((one) => one.sub === id);
      assert.equal(mine.length, 1, 'many tokens are one grant');
      assert.equal((await service.fetch(`/tokens/${mine[0]?.jti ?? ''}`, { method: 'DELETE' })).status, 204);
      assert.equal((await device.closed())[0], 4500);
      for (const token of tokens) {
        assert.equal((await refusedDevice(service.port, withToken(id, token))).status, 403);
      }
    });

    it('a token ends by its own clock, and says so; one that nobody granted is none', async () => {
      const tokens = createDeviceTokens({
        secret: () => Promise.resolve(DEVICE_SECRET),
        salt: 'fedecks',
        expirySeconds: 60,
        clock: { ...systemRuntime.clock, now: () => Date.now() - 60_000 },
      });
      const expired = await refusedDevice(
        service.port,
        withToken('fleet-1', await tokens.issue('fleet-1', randomUUID())),
      );
      assert.deepEqual([expired.status, expired.headers['x-fedecks-error']], [403, 'token_expired']);
      const valid = createDeviceTokens({
        secret: () => Promise.resolve(DEVICE_SECRET),
        salt: 'fedecks',
        expirySeconds: 60,
        clock: systemRuntime.clock,
      });
      const unknown = await refusedDevice(
        service.port,
        withToken('fleet-1', await valid.issue('fleet-1', randomUUID())),
      );
      assert.equal(unknown.headers['x-fedecks-error'], 'invalid_token');
    });

    it('G8: whatever bytes a device sends, nobody else is disturbed', async () => {
      const bystander = await open(newId());
      bystander.socket.ping();
      const bomb = Buffer.concat([
        Buffer.from('8350', 'hex'),
        Buffer.from('3fffffff', 'hex'),
        deflateSync(Buffer.alloc(4_000_000)),
      ]);
      const wide = Buffer.concat([Buffer.from('836cffffffff', 'hex'), Buffer.alloc(200_000, 106)]);
      const deep = Buffer.concat([Buffer.from('83', 'hex'), Buffer.from('6c00000001'.repeat(60_000), 'hex')]);
      const hostile = await open(newId());
      const frames = [
        bomb,
        wide,
        deep,
        Buffer.alloc(0),
        ...Array.from({ length: 60 }, (_, at) => Buffer.concat([Buffer.from([131]), randomBytes(at * 20)])),
      ];
      for (const frame of frames) {
        hostile.raw(frame);
      }
      // Each is answered: as a term or as raw bytes it is in the log.
      const answers = await hostile.some(frames.length);
      assert.ok(answers.every((answer) => typeof field(answer, 'stored') === 'string'));
      hostile.raw(Buffer.alloc(1_048_577));
      assert.equal((await hostile.closed())[0], 1009);
      bystander.send('still here');
      assert.equal(field((await bystander.some(1))[0], 'version'), 1);
      await bystander.close();
    });

    it('G12: no secret and no token stands in a log line or an event', async () => {
      assert.ok(lines.some((line) => line.includes('device refused')));
      const told = JSON.stringify((await service.page('$control')).events);
      for (const secret of secrets) {
        assert.ok(!lines.join('').includes(secret) && !told.includes(secret));
      }
    });
  });
});

describe('devices and nodes', () => {
  const skip = missing('PostgreSQL');
  it(
    'G3 G10: on two nodes a token holds, a resume goes on, and a revocation reaches the other one',
    { skip },
    async () => {
      const database = await createDatabase();
      // Without a secret in the settings: it is kept in the database.
      const settings = { DATABASE_URL: database.url };
      const [here, there] = await Promise.all([startService(settings), startService(settings)]);
      const made = await here.post('/oauth/clients', {
        name: 'fleet',
        scope: 'subscribe',
        access_ids: ['fleet-*'],
      });
      const client = (await made.json()) as Client;
      const id = 'fleet-1';
      const first = await openDevice(here.port, {
        [ID]: id,
        username: client.client_id,
        password: client.client_secret,
      });
      first.send(TOKEN_PLEASE);
      const token = await first.token();
      for (let batch = 0; batch < 10; batch += 1) {
        await there.push(
          ...Array.from({ length: 100 }, (_, at) => ({
            accessid: id,
            created_at: 1,
            payload: batch * 100 + at,
          })),
        );
      }
      await first.until(() => (first.terms.length >= 300 ? true : undefined));
      first.socket.terminate();
      const before = first.terms.slice(0, 300);
      const second = await openDevice(there.port, { [ID]: id, [TOKEN]: token });
      second.send(new Map([['resume', field(before.at(-1), 'cursor') ?? null]]));
      const after = (await second.some(701)).slice(1);
      assert.deepEqual(
        [...before, ...after].map((term) => field(term, 'version')),
        Array.from({ length: 1_000 }, (_, at) => at + 1),
      );
      await here.fetch(`/oauth/clients/${client.client_id}`, { method: 'DELETE' });
      assert.equal((await second.closed())[0], 4500);
      for (const { port } of [here, there]) {
        assert.equal((await refusedDevice(port, { [ID]: id, [TOKEN]: token })).status, 403);
      }
      await Promise.all([here.stop(), there.stop()]);
      await database.drop();
    },
  );

  it('with open authentication any device comes in; a drain sends it away with 1012', async () => {
    const service = await startService({ LASTSEEN_AUTH: 'open' });
    const device = await openDevice(service.port, { [ID]: 'any' });
    device.send('hello');
    assert.equal(field((await device.some(1))[0], 'version'), 1);
    device.send(TOKEN_PLEASE);
    const token = await device.token();
    await (await openDevice(service.port, { [ID]: 'any', [TOKEN]: token })).close();
    const closed = device.closed();
    await service.stop();
    assert.equal((await closed)[0], 1012);
  });
});
