/** POST /push_events, POST /drop_user, GET /clients. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Problem, type Service, startService } from '../../support/service.ts';

describe('the notifier over HTTP', () => {
  let service: Service;
  before(async () => {
    service = await startService({
      LASTSEEN_MAX_BATCH_EVENTS: '100',
      LASTSEEN_MAX_BATCH_BYTES: '20000',
      LASTSEEN_MAX_PAYLOAD_BYTES: '5000',
    });
  });
  after(() => service.stop());

  async function refused(body: unknown, headers: Record<string, string> = {}): Promise<[number, Problem]> {
    const before = await service.page('refused');
    const response = await service.post('/push_events', body, headers);
    assert.match(response.headers.get('content-type') ?? '', /^application\/problem\+json/);
    assert.deepEqual(await service.page('refused'), before, 'nothing was appended');
    return [response.status, (await response.json()) as Problem];
  }

  it('a push is answered 200 and `true`, in the original form and ours', async () => {
    await service.push(
      { accessid: 'form', created_at: 1, payload: 'a' },
      { access_id: 'form', created_at: 2, payload: null },
    );
    const { events, caught_up: isCaughtUp } = await service.page('form');
    assert.deepEqual(
      events.map(({ version, created_at, payload }) => [version, created_at, payload]),
      [
        [1, 1, 'a'],
        [2, 2, null],
      ],
    );
    assert.equal(isCaughtUp, true);
    assert.equal(await (await service.post('/push_events', [])).text(), 'true');
  });

  it('Prefer: return=representation tells where each event stands, in the order sent', async () => {
    const events = [
      { accessid: 'p1', created_at: 1, payload: 1, id: 'i' },
      { accessid: 'p2', created_at: 1, payload: 1 },
    ];
    const prefer = { Prefer: 'return=representation' };
    const first = (await (await service.post('/push_events', events, prefer)).json()) as {
      events: { cursor: string }[];
    };
    assert.deepEqual(
      { ...first, events: first.events.map(({ cursor, ...rest }) => [typeof cursor, rest]) },
      {
        appended: 2,
        duplicates: 0,
        events: [
          ['string', { access_id: 'p1', version: 1, duplicate: false }],
          ['string', { access_id: 'p2', version: 1, duplicate: false }],
        ],
      },
    );
    const again = (await (
      await service.post('/push_events', events.slice(0, 1), prefer)
    ).json()) as typeof first & { duplicates: number };
    assert.equal(again.duplicates, 1);
    assert.equal(again.events[0]?.cursor, first.events[0]?.cursor);
    assert.equal((await service.page('p1', `&after=${first.events[0]?.cursor ?? ''}`)).events.length, 0);
  });

  it('G5: an id with other content is refused with 409, naming the event', async () => {
    await service.push({ accessid: 'refused', created_at: 1, payload: 1, id: 'a' });
    const [status, problem] = await refused([
      { accessid: 'refused', created_at: 2, payload: 2 },
      { accessid: 'refused', created_at: 1, payload: 2, id: 'a' },
    ]);
    assert.equal(status, 409);
    assert.equal(problem.code, 'ERR_ID_CONFLICT');
    assert.equal(problem.errors?.[0]?.pointer, '/1/id');
  });

  it('G5: an Idempotency-Key makes a batch repeatable, and another batch under it is refused', async () => {
    const headers = { 'Idempotency-Key': 'k1' };
    const batch = [
      { accessid: 'keyed', created_at: 1, payload: 1 },
      { accessid: 'keyed', created_at: 1, payload: 1 },
    ];
    for (let round = 0; round < 3; round += 1) {
      assert.equal((await service.post('/push_events', batch, headers)).status, 200);
    }
    assert.equal((await service.page('keyed')).events.length, 2);
    const other = await service.post('/push_events', batch.slice(1), headers);
    assert.equal(other.status, 409);
  });

  it('G4: a bad event refuses the batch, and the answer names the event and the field', async () => {
    const good = { accessid: 'refused', created_at: 1, payload: 1 };
    const cases: [unknown, string][] = [
      [{ ...good, created_at: 'soon' }, '/1/created_at'],
      [{ ...good, created_at: 1.5 }, '/1/created_at'],
      [{ ...good, created_at: 2 ** 53 }, '/1/created_at'],
      [{ accessid: 'refused', payload: 1 }, '/1/created_at'],
      [{ accessid: 'refused', created_at: 1 }, '/1/payload'],
      [{ ...good, accessid: '' }, '/1/accessid'],
      [{ ...good, accessid: '$users' }, '/1/accessid'],
      [{ ...good, accessid: 'x'.repeat(257) }, '/1/accessid'],
      [{ ...good, accessid: 'a\u0000' }, '/1/accessid'],
      [{ ...good, accessid: 7 }, '/1/accessid'],
      [{ created_at: 1, payload: 1 }, '/1/access_id'],
      [{ ...good, id: '' }, '/1/id'],
      [{ ...good, id: 5 }, '/1/id'],
      [null, '/1'],
      [[good], '/1'],
      ['text', '/1'],
    ];
    for (const [bad, pointer] of cases) {
      const [status, problem] = await refused([good, bad, good]);
      assert.equal(status, 400, JSON.stringify(bad));
      assert.equal(problem.errors?.[0]?.pointer, pointer, JSON.stringify(bad));
    }
    const [status, problem] = await refused(`[{"accessid":"refused\\ud800","created_at":1,"payload":1}]`);
    assert.deepEqual([status, problem.errors?.[0]?.pointer], [400, '/0/accessid']);
  });

  it('an access_id of 256 characters is taken, however many bytes they have', async () => {
    const accessid = '😀'.repeat(256);
    await service.push({ accessid, created_at: 1, payload: 1 });
    assert.equal((await service.page(accessid)).events.length, 1);
  });

  it('what is too large is refused with 413: events, bytes of the body, bytes of a payload', async () => {
    const good = { accessid: 'refused', created_at: 1, payload: 1 };
    assert.equal((await refused(Array.from({ length: 101 }, () => good)))[0], 413);
    assert.equal((await refused([{ ...good, payload: 'x'.repeat(5_001) }]))[0], 413);
    assert.equal((await refused(' '.repeat(20_001)))[0], 413);
  });

  it('wrong content is refused: type, encoding, charset, JSON, shape, method, token', async () => {
    assert.equal((await refused('[]', { 'Content-Type': 'text/plain' }))[0], 415);
    assert.equal((await refused('[]', { 'Content-Type': 'application/json; charset=latin1' }))[0], 415);
    assert.equal((await refused('[]', { 'Content-Encoding': 'gzip' }))[0], 415);
    for (const body of ['', '[', '{a:1}', "['a']", '[1,]', '\ufeff[]', 'NaN']) {
      assert.equal((await refused(body))[0], 400, body);
    }
    assert.equal((await refused({}))[0], 400);
    assert.equal((await service.fetch('/push_events')).status, 405);
    assert.equal((await refused('[]', { Authorization: 'Bearer wrong' }))[0], 401);
    assert.equal((await refused('[]', { Authorization: 'Basic x' }))[0], 401);
    assert.equal((await fetch(`${service.url}/push_events`, { method: 'POST' })).status, 401);
  });

  it('CloudEvents come in, alone and in batches, and their repeats are duplicates', async () => {
    const cloud = {
      specversion: '1.0',
      id: '1',
      source: '/shop',
      type: 'order',
      subject: 'cloud',
      data: { x: 1.0 },
    };
    const single = { 'Content-Type': 'application/cloudevents+json' };
    const batch = { 'Content-Type': 'application/cloudevents-batch+json; charset=utf-8' };
    assert.equal(await (await service.post('/push_events', cloud, single)).text(), 'true');
    assert.equal(
      await (
        await service.post(
          '/push_events',
          [cloud, { ...cloud, id: '2', time: '2026-01-02T03:04:05+01:00' }],
          batch,
        )
      ).text(),
      'true',
    );
    const { events } = await service.page('cloud');
    assert.deepEqual(
      events.map((event) => event.id),
      ['/shop 1', '/shop 2'],
    );
    assert.deepEqual(events[0]?.payload, cloud);
    assert.equal(events[1]?.created_at, Date.parse('2026-01-02T02:04:05Z'));
    for (const missing of ['id', 'source', 'type', 'specversion', 'subject']) {
      const response = await service.post('/push_events', [{ ...cloud, [missing]: undefined }], batch);
      assert.equal(((await response.json()) as Problem).errors?.[0]?.pointer, `/0/${missing}`);
    }
  });

  it('drop_user answers `true` whether or not anybody is connected, and names what is wrong', async () => {
    assert.equal(await (await service.post('/drop_user', { drop_access_id: 'nobody' })).text(), 'true');
    const response = await service.post('/drop_user', { drop_access_id: 5 });
    assert.equal(response.status, 400);
    assert.equal(((await response.json()) as Problem).errors?.[0]?.pointer, '/drop_access_id');
  });

  it('GET /clients tells who is connected, as JSON and as the original text', async () => {
    const text = { headers: { Accept: 'text/plain' } };
    assert.equal(await (await service.fetch('/clients', text)).text(), 'Connected clients:');
    assert.deepEqual(await (await service.fetch('/clients')).json(), []);
    const client = await service.connect();
    client.send({ access_id: 'listed', after: 'now' });
    const live = await client.typed('live');
    assert.equal(await (await service.fetch('/clients', text)).text(), 'Connected clients:listed ');
    const [line] = (await (await service.fetch('/clients')).json()) as Record<string, unknown>[];
    assert.deepEqual(
      { ...line, since: 0 },
      {
        access_id: 'listed',
        gateway: 'notifier',
        since: 0,
        cursor: live['cursor'],
        lag: 0,
        buffered_bytes: 0,
      },
    );
    await client.close();
    assert.equal((await service.fetch('/clients', { headers: { Authorization: 'Bearer x' } })).status, 401);
  });
});
