/** The notifier's wire to the letter: golden answers and frames, repeats, origins, drops, resumption under load. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { connect, type Problem, type Service, startService, TOKEN } from '../../support/service.ts';
import { logOf, openWire, requestHead, UPGRADE } from '../../support/wire.ts';

const PREFER = { Prefer: 'respond-async, return=representation; x=1' };
const BATCH = { 'Content-Type': 'application/cloudevents-batch+json' };
const SINGLE = { 'Content-Type': 'application/cloudevents+json' };

interface Receipts {
  readonly appended: number;
  readonly duplicates: number;
  readonly events: { access_id: string; version: number; cursor: string; duplicate: boolean }[];
}

describe('the notifier, to the letter', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  async function receipts(body: unknown, headers: Record<string, string> = {}): Promise<Receipts> {
    const response = await service.post('/push_events', body, { ...PREFER, ...headers });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('preference-applied'), 'return=representation');
    return (await response.json()) as Receipts;
  }

  const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

  it('G4: an answer names every bad event and field of the batch, and nothing is appended', async () => {
    const rows = logOf(service);
    const good = { accessid: 'named', created_at: 1, payload: 1 };
    const response = await service.post('/push_events', [
      good,
      { accessid: '', created_at: '1', id: 7 },
      good,
      { ...good, created_at: 1.5 },
      { ...good, access_id: 7, accessid: undefined },
    ]);
    assert.equal(response.status, 400);
    assert.deepEqual(
      ((await response.json()) as Problem).errors?.map((fault) => fault.pointer),
      ['/1/accessid', '/1/created_at', '/1/id', '/1/payload', '/3/created_at', '/4/access_id'],
    );
    assert.deepEqual(logOf(service), rows);
  });

  it('every refusal is a problem with type, title, status, detail and code, and its headers', async () => {
    const problem = async (response: Promise<Response>): Promise<[Response, Record<string, unknown>]> => {
      const answer = await response;
      assert.equal(answer.headers.get('content-type'), 'application/problem+json');
      const body = (await answer.json()) as Record<string, unknown>;
      for (const member of ['type', 'title', 'detail', 'code']) {
        assert.equal(typeof body[member], 'string');
      }
      assert.equal(body['status'], answer.status);
      return [answer, body];
    };
    const [method] = await problem(service.fetch('/push_events', { method: 'PUT' }));
    assert.deepEqual([method.status, method.headers.get('allow')], [405, 'POST']);
    const [clients] = await problem(service.post('/clients', {}));
    assert.deepEqual([clients.status, clients.headers.get('allow')], [405, 'GET']);
    const [nobody] = await problem(fetch(`${service.url}/drop_user`, { method: 'POST', body: '{}' }));
    assert.deepEqual(
      [nobody.status, (nobody.headers.get('www-authenticate') ?? '').startsWith('Bearer')],
      [401, true],
    );
    const [type] = await problem(service.fetch('/push_events', { method: 'POST', body: '[]' }));
    assert.equal(type.status, 415);
    const [path, body] = await problem(service.fetch('/nowhere'));
    assert.deepEqual([path.status, body['code']], [404, 'ERR_NOT_FOUND']);
  });

  it('G5: an id is its access_id’s own, and a repeat is answered with the first place', async () => {
    const event = { accessid: 'own1', created_at: 1, payload: { a: 1 }, id: 'same' };
    const first = await receipts([event, { ...event, accessid: 'own2' }, event]);
    assert.deepEqual(
      first.events.map(({ access_id, version, duplicate }) => [access_id, version, duplicate]),
      [
        ['own1', 1, false],
        ['own2', 1, false],
        ['own1', 1, true],
      ],
    );
    assert.deepEqual(
      [first.appended, first.duplicates, first.events[2]?.cursor],
      [2, 1, first.events[0]?.cursor],
    );
    for (const other of [{ payload: { a: 2 } }, { created_at: 2 }]) {
      const response = await service.post('/push_events', [{ ...event, ...other }]);
      assert.equal(response.status, 409);
      assert.equal(((await response.json()) as Problem).errors?.[0]?.pointer, '/0/id');
    }
    const within = await service.post('/push_events', [
      { ...event, id: 'new' },
      { ...event, id: 'new', payload: 3 },
    ]);
    assert.deepEqual(
      [within.status, ((await within.json()) as Problem).errors?.[0]?.pointer],
      [409, '/1/id'],
    );
    assert.equal((await service.page('own1')).events.length, 1);
  });

  it('G5: however many push the same at once, it is appended once', async () => {
    const byId = [{ accessid: 'race', created_at: 1, payload: 1, id: 'i' }];
    const byKey = [{ accessid: 'race', created_at: 2, payload: 2 }];
    const answers = await Promise.all([
      ...numbers(20).map(() => receipts(byId)),
      ...numbers(20).map(() => receipts(byKey, { 'Idempotency-Key': 'race' })),
    ]);
    assert.equal(
      answers.reduce((sum, answer) => sum + answer.appended, 0),
      2,
    );
    assert.equal(new Set(answers.map((answer) => answer.events[0]?.cursor)).size, 2);
    assert.equal((await service.page('race')).events.length, 2);
  });

  it('G5: a CloudEvent without a time may be repeated, alone and in a batch, and bad ones are named', async () => {
    const cloud = { specversion: '1.0', id: '1', source: '/s', type: 't', subject: 'timeless', data: 1 };
    const [first] = (await receipts(cloud, SINGLE)).events;
    const again = await receipts([cloud, cloud], BATCH);
    assert.deepEqual([again.appended, again.duplicates, again.events[1]?.cursor], [0, 2, first?.cursor]);
    assert.equal((await service.post('/push_events', { ...cloud, data: 2 }, SINGLE)).status, 409);
    for (const [body, headers, pointer] of [
      [{ ...cloud, time: 'soon' }, SINGLE, '/time'],
      [{ ...cloud, specversion: '0.3' }, SINGLE, '/specversion'],
      [{ ...cloud, subject: '$users' }, SINGLE, '/subject'],
      [[cloud, { ...cloud, id: 5 }], BATCH, '/1/id'],
      [[cloud, { ...cloud, subject: '' }], BATCH, '/1/subject'],
      [[cloud, 7], BATCH, '/1'],
      [cloud, BATCH, ''],
      [[cloud], SINGLE, ''],
    ] as const) {
      const response = await service.post('/push_events', body, headers);
      const problem = (await response.json()) as Problem;
      assert.deepEqual([response.status, problem.errors?.[0]?.pointer], [400, pointer], JSON.stringify(body));
    }
    assert.equal((await service.page('timeless')).events.length, 1);
  });

  it('413 counts events, bytes of the body and bytes, not letters, of a payload; the limit itself is taken', async () => {
    const rows = logOf(service);
    const event = (payload: string): string => `{"accessid":"big","created_at":1,"payload":${payload}}`;
    const megabyte = 1024 * 1024;
    for (const body of [
      `[${numbers(10_001)
        .map(() => event('1'))
        .join()}]`,
      `[${event('1')},${event(`"${'é'.repeat(megabyte / 2)}"`)}]`,
      `[${event('1')}${' '.repeat(8 * megabyte)}]`,
      `[${event(`"${'x'.repeat(40 * megabyte)}"`)}]`,
    ]) {
      const response = await service.post('/push_events', body);
      assert.deepEqual([response.status, ((await response.json()) as Problem).code], [413, 'ERR_TOO_LARGE']);
    }
    assert.deepEqual(logOf(service), rows);
    await service.post('/push_events', `[${event(`"${'é'.repeat(megabyte / 2 - 1)}"`)}]`);
    await service.post(
      '/push_events',
      `[${numbers(10_000)
        .map(() => event('1'))
        .join()}]`,
    );
    assert.equal(logOf(service).length, rows.length + 10_001);
  });

  it('GET /clients in the original form: each name once, followed by one space', async () => {
    const text = async (): Promise<string> =>
      (await service.fetch('/clients', { headers: { Accept: 'text/plain' } })).text();
    assert.equal(await text(), 'Connected clients:');
    const clients = [];
    for (const accessId of ['one', 'two', 'one']) {
      const client = await service.connect();
      client.send({ access_id: accessId, after: 'now' });
      await client.typed('live');
      clients.push(client);
    }
    assert.equal(await text(), 'Connected clients:one two ');
    const list = (await (await service.fetch('/clients')).json()) as { access_id: string }[];
    assert.deepEqual(
      list.map((line) => line.access_id),
      ['one', 'two', 'one'],
    );
    for (const client of clients) {
      await client.close();
    }
  });

  it('G3: the frames of the exact form, to the letter', async () => {
    const { events } = await receipts([
      { accessid: 'golden "é"', created_at: 10, payload: { b: 1, a: [] } },
      { accessid: 'golden "é"', created_at: -5, payload: 'x', id: 'i1' },
    ]);
    const [first, second] = events.map((event) => event.cursor) as [string, string];
    const [{ recorded_at: recordedAt } = { recorded_at: 0 }] = (await service.page('golden "é"')).events;
    const client = await service.connect();
    client.send({ access_id: 'golden "é"', after: first });
    await client.typed('live');
    const name = String.raw`"golden \"é\""`;
    assert.deepEqual(client.frames, [
      `{"type":"subscribed","access_id":${name},"cursor":"${first}","head":"${second}"}`,
      `{"type":"events","access_id":${name},"events":[{"cursor":"${second}","access_id":${name},"version":2,"created_at":-5,"recorded_at":${recordedAt},"id":"i1","payload":"x"}]}`,
      `{"type":"live","access_id":${name},"cursor":"${second}"}`,
    ]);
    await client.close();
  });

  it('G6: a refused cursor of a later subscription closes 4501 too, and delivers nothing', async () => {
    const client = await service.connect();
    client.send({ access_id: 'verdict', after: 'now' });
    await client.typed('live');
    client.send({ type: 'subscribe', access_id: 'verdict2', after: 'aaaaaaaa.1' });
    const error = await client.typed('error');
    assert.deepEqual(Object.keys(error), ['type', 'code', 'detail', 'access_id', 'floor']);
    assert.deepEqual([error['code'], error['access_id']], ['ERR_CURSOR_EPOCH', 'verdict2']);
    assert.equal((await client.closed())[0], 4501);
    assert.equal(client.frames.length, 3);
  });

  it('G11: the original form: the bound is inclusive and never moves, late events come, all as text', async () => {
    await service.push(
      ...[1000, 999, 3000, 1000].map((at, n) => ({ accessid: 'late', created_at: at, payload: n })),
    );
    const client = await service.connect();
    const kinds: boolean[] = [];
    client.socket.on('message', (_data, isBinary) => kinds.push(isBinary));
    client.send({ access_id: 'late', timestamp: 1000, extra: true });
    await client.frame((frame) => frame.includes('"payload":3'));
    await service.push(
      { accessid: 'late', created_at: 1001, payload: 4 },
      { accessid: 'late', created_at: 5, payload: 5 },
    );
    await service.push({ accessid: 'late', created_at: 1000, payload: 6 });
    await client.frame((frame) => frame.includes('"payload":6'));
    const events = client.frames.flatMap((frame) => JSON.parse(frame) as { payload: number }[]);
    assert.deepEqual(
      events.map((event) => event.payload),
      [0, 2, 3, 4, 6],
    );
    assert.deepEqual(Object.keys(events[0] ?? {}), ['accessid', 'created_at', 'payload']);
    assert.ok(kinds.every((isBinary) => !isBinary));
    assert.equal(await (await service.post('/drop_user', { drop_access_id: 'late' })).text(), 'true');
    assert.deepEqual(await client.closed(), [1000, 'close']);
  });

  it('G3: whoever subscribes while many push gets each later event once, in order, in both forms', async () => {
    const total = 60;
    const pushing = numbers(total).map((n) => service.push({ accessid: 'busy', created_at: 1, payload: n }));
    await pushing[0];
    const exact = await Promise.all(numbers(8).map(() => service.connect()));
    const legacy = await service.connect();
    for (const client of exact) {
      client.send({ access_id: 'busy', after: 'start' });
    }
    legacy.send({ access_id: 'busy', timestamp: 1 });
    await Promise.all(pushing);
    const wanted = (await service.page('busy')).events;
    assert.equal(wanted.length, total);
    for (const client of exact) {
      assert.deepEqual(await client.events(total), wanted);
    }
    const listed = (): unknown[] => legacy.frames.flatMap((frame) => JSON.parse(frame) as unknown[]);
    await legacy.frame(() => listed().length >= total);
    assert.deepEqual(
      listed(),
      wanted.map((event) => ({ accessid: 'busy', created_at: 1, payload: event.payload })),
    );
    for (const client of [...exact, legacy]) {
      await client.close();
    }
  });

  it('a wrong token on an open socket ends it with 4502, and the close of a client is echoed', async () => {
    const client = await service.connect();
    client.send({ access_id: 'token', after: 'now' });
    await client.typed('live');
    client.send({ type: 'token', token: 'wrong' });
    assert.equal((await client.closed())[0], 4502);
    const leaving = await service.connect();
    leaving.send({ access_id: 'token', timestamp: 0 });
    leaving.socket.close(1000);
    assert.equal((await leaving.closed())[0], 1000);
  });

  it('a first message of 64 KiB is read, one byte more closes 1009', async () => {
    const message = JSON.stringify({ access_id: 'size', after: 'now', x: '' });
    const fits = await service.connect();
    fits.send(message.replace('""', `"${'x'.repeat(65_536 - message.length)}"`));
    await fits.typed('live');
    await fits.close();
    const over = await service.connect();
    over.send(message.replace('""', `"${'x'.repeat(65_537 - message.length)}"`));
    assert.equal((await over.closed())[0], 1009);
  });

  it('listed origins and anchored patterns are let in, look-alikes get 403 before the upgrade', async () => {
    const listed = await startService({
      LASTSEEN_ORIGINS: String.raw`https://app.example, ^https://[a-z]+\.team\.example, http://localhost:3000`,
    });
    const answer = async (origin: string): Promise<string> => {
      const wire = await openWire(listed.port);
      wire.write(
        requestHead(listed.port, 'GET /subscribe_to_events HTTP/1.1', ...UPGRADE, `Origin: ${origin}`),
      );
      const received = await wire.until((all) => all.includes('\r\n\r\n'));
      wire.cut();
      return received.slice(9, 12);
    };
    for (const origin of ['https://app.example', 'https://a.team.example', 'http://localhost:3000']) {
      assert.equal(await answer(origin), '101', origin);
    }
    for (const origin of [
      'http://app.example',
      'https://app.example.evil.example',
      'https://evil-app.example',
      'https://app.example:8443',
      'https://app.example@evil.example',
      'https://a.team.example.evil.example',
      'https://evil.example/https://a.team.example',
      'https://a-team.example',
      'https://ateam.example',
      'http://localhost',
      'http://evil-localhost:3000',
      'http://localhost:30000',
      `http://127.0.0.1:${listed.port}`,
      'null',
      'file://',
    ]) {
      assert.equal(await answer(origin), '403', origin);
    }
    const native = await connect(listed.port, { headers: { Authorization: `Bearer ${TOKEN}` } });
    await native.close();
    await listed.stop();
  });

  it('the path without an upgrade is answered 426', async () => {
    assert.equal((await service.fetch('/subscribe_to_events')).status, 426);
  });
});
