/** WebSocket /subscribe_to_events in both forms. */
import assert from 'node:assert/strict';
import { connect as connectTcp } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { connect, type Service, startService, TOKEN } from '../../support/service.ts';
import { until } from '../../support/until.ts';

describe('the notifier over WebSocket', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  it("the original's own test: each client gets its own events from its time on, inclusive", async () => {
    const one = await service.connect();
    const two = await service.connect();
    one.send({ access_id: 'client1', timestamp: 1000 });
    two.send({ access_id: 'client2', timestamp: 1000 });
    await connected(['client1', 'client2']);
    await service.push(
      { accessid: 'client1', created_at: 1000, payload: 'a' },
      { accessid: 'client2', created_at: 3000, payload: 'b' },
      { accessid: 'client3', created_at: 4000, payload: 'c' },
      { accessid: 'client1', created_at: 500, payload: 'd' },
    );
    assert.equal(await one.frame(() => true), '[{"accessid":"client1","created_at":1000,"payload":"a"}]');
    assert.equal(await two.frame(() => true), '[{"accessid":"client2","created_at":3000,"payload":"b"}]');
    await service.push({ accessid: 'client1', created_at: 1001, payload: 'e' });
    await one.frame((frame) => frame.includes('"e"'));
    assert.equal(one.frames.length, 2, 'no other frames');
    one.socket.close(1000);
    assert.equal((await one.closed())[0], 1000);
    const again = await service.connect();
    again.send({ access_id: 'client1', timestamp: 1000 });
    assert.equal(
      await again.frame(() => true),
      '[{"accessid":"client1","created_at":1000,"payload":"a"},{"accessid":"client1","created_at":1001,"payload":"e"}]',
    );
    await again.close();
    await two.close();
  });

  it('a first message that is none gets the original text and 1008', async () => {
    for (const bad of [
      '{',
      '[]',
      'null',
      '{}',
      '{"access_id":"a"}',
      '{"access_id":"a","timestamp":"1"}',
      '{"access_id":5,"timestamp":1}',
    ]) {
      const client = await service.connect();
      client.send(bad);
      assert.equal((await client.closed())[0], 1008, bad);
      assert.deepEqual(client.frames, ['Wrong JSON announcement'], bad);
    }
  });

  it('G3: the exact form: subscribed, events, live once, then what comes', async () => {
    await service.push(
      { accessid: 'exact', created_at: 1, payload: { a: 1 } },
      { accessid: 'other', created_at: 1, payload: 1 },
    );
    const client = await service.connect();
    client.send({ access_id: 'exact', after: 'start' });
    const live = await client.typed('live');
    await service.push({ accessid: 'exact', created_at: 1, payload: 2, id: 'x' });
    const events = await client.events(2);
    assert.deepEqual(
      client.frames.map((frame) => (JSON.parse(frame) as { type: string }).type),
      ['subscribed', 'events', 'live', 'events'],
    );
    const subscribed = await client.typed('subscribed');
    assert.equal(subscribed['head'], events[0]?.cursor);
    assert.equal(live['cursor'], events[0]?.cursor);
    assert.deepEqual(Object.keys(events[1] ?? {}), [
      'cursor',
      'access_id',
      'version',
      'created_at',
      'recorded_at',
      'id',
      'payload',
    ]);
    await client.close();
    const resumed = await service.connect();
    resumed.send({ access_id: 'exact', after: events[0]?.cursor });
    assert.deepEqual(await resumed.events(1), events.slice(1));
    await resumed.close();
  });

  it('`now` gives only what comes; a time beside `after: null` chooses the start', async () => {
    await service.push(
      ...[10, 30, 20].map((created_at) => ({ accessid: 'when', created_at, payload: created_at })),
    );
    const late = await service.connect();
    late.send({ access_id: 'when', after: 'now' });
    const timed = await service.connect();
    timed.send({ access_id: 'when', after: null, timestamp: 20 });
    await late.typed('live');
    await timed.typed('live');
    await service.push({ accessid: 'when', created_at: 5, payload: 5 });
    assert.deepEqual(
      (await late.events(1)).map((event) => event.payload),
      [5],
    );
    assert.deepEqual(
      (await timed.events(3)).map((event) => event.payload),
      [30, 20, 5],
    );
    await late.close();
    await timed.close();
  });

  it('G6: a refused cursor says why and where to begin, and closes 4501', async () => {
    const { cursor } = await service.page('exact');
    const epoch = cursor.slice(0, 8);
    const cases = {
      nonsense: 'ERR_CURSOR_MALFORMED',
      'aaaaaaaa.1': 'ERR_CURSOR_EPOCH',
      [`${epoch}.zzzz`]: 'ERR_CURSOR_AHEAD',
    };
    for (const [after, code] of Object.entries(cases)) {
      const client = await service.connect();
      client.send({ access_id: 'exact', after });
      assert.equal((await client.closed())[0], 4501);
      const error = await client.typed('error');
      assert.deepEqual([error['code'], error['floor']], [code, `${epoch}.0`]);
    }
  });

  it('one socket carries several subscriptions, and lets go of one', async () => {
    const client = await service.connect();
    client.send({ access_id: 'm1', after: 'now' });
    client.send({ type: 'subscribe', access_id: 'm2', after: 'now' });
    await client.frame((frame) => frame.includes('"live"') && frame.includes('m1'));
    await client.frame((frame) => frame.includes('"live"') && frame.includes('m2'));
    await service.push(
      { accessid: 'm1', created_at: 1, payload: 1 },
      { accessid: 'm2', created_at: 1, payload: 2 },
    );
    assert.equal((await client.events(2)).length, 2);
    client.send({ type: 'unsubscribe', access_id: 'm1' });
    client.send({ type: 'unsubscribe', access_id: 'm1' });
    assert.equal((await client.typed('error'))['code'], 'ERR_REQUEST_INVALID');
    await service.push(
      { accessid: 'm1', created_at: 1, payload: 3 },
      { accessid: 'm2', created_at: 1, payload: 4 },
    );
    assert.deepEqual((await client.events(3)).map((event) => event.payload).sort(), [1, 2, 4]);
    await client.close();
  });

  it('G8: bad later messages get an error each and the socket goes on; the 101st subscription is refused', async () => {
    const client = await service.connect();
    client.send({ access_id: 's0', after: 'now' });
    await client.typed('live');
    for (const bad of [
      '{',
      '[]',
      '{"type":"dance"}',
      '{"type":"subscribe","access_id":"s0","after":"now"}',
      '{"type":"token","token":5}',
    ]) {
      const count = client.frames.length;
      client.send(bad);
      await client.frame(() => client.frames.length > count);
      assert.match(client.frames.at(-1) ?? '', /ERR_REQUEST_INVALID/);
    }
    for (let at = 1; at <= 100; at += 1) {
      client.send({ type: 'subscribe', access_id: `s${at}`, after: 'now' });
    }
    await client.frame((frame) => frame.includes('ERR_TOO_MANY_SUBSCRIPTIONS') && frame.includes('"s100"'));
    assert.ok(!client.frames.some((frame) => frame.includes('"subscribed"') && frame.includes('"s100"')));
    await service.push({ accessid: 's0', created_at: 1, payload: 1 });
    assert.equal((await client.events(1)).length, 1);
    await client.close();
  });

  it('a token comes in the header, as a subprotocol or in the first message, and a wrong one is refused', async () => {
    const first = { access_id: 'auth', after: 'now' };
    const sub = await service.connect({ headers: {}, protocols: ['lastseen', `lastseen.bearer.${TOKEN}`] });
    assert.equal(sub.socket.protocol, 'lastseen');
    sub.send(first);
    await sub.typed('live');
    sub.send({ type: 'token', token: TOKEN });
    await sub.typed('token');
    await sub.close();
    const page = { Origin: service.url };
    const message = await service.connect({ headers: page });
    message.send({ ...first, token: TOKEN });
    await message.typed('live');
    await message.close();
    for (const bad of [first, { ...first, token: 'wrong' }]) {
      const client = await service.connect({ headers: page });
      client.send(bad);
      assert.equal((await client.closed())[0], 4502);
      assert.equal((await client.typed('error'))['code'], 'ERR_UNAUTHENTICATED');
    }
    assert.match(await upgrade('Authorization: Bearer wrong'), /^HTTP\/1\.1 401 /);
    assert.match(await upgrade(), /^HTTP\/1\.1 401 /, 'no Origin and no token');
  });

  it('a foreign origin, a look-alike and `null` are refused with 403 before the upgrade', async () => {
    const host = `127.0.0.1:${service.port}`;
    for (const origin of [
      'http://evil.example',
      'null',
      `http://evil-${host}`,
      `http://${host}.evil.example`,
      `http://127.0.0.1`,
    ]) {
      assert.match(
        await upgrade(`Origin: ${origin}`, `Authorization: Bearer ${TOKEN}`),
        /^HTTP\/1\.1 403 /,
        origin,
      );
    }
    assert.match(
      await upgrade(`Origin: http://${host}`, `Authorization: Bearer ${TOKEN}`),
      /^HTTP\/1\.1 101 /,
    );
    await assert.rejects(connect(service.port, { path: '/nowhere' }), /404/);
  });

  it('G8: two sockets of one access_id both get events, and closing one leaves the other', async () => {
    const [one, two] = [await service.connect(), await service.connect()];
    one.send({ access_id: 'pair', after: 'now' });
    two.send({ access_id: 'pair', after: 'now' });
    await one.typed('live');
    await two.typed('live');
    await service.push({ accessid: 'pair', created_at: 1, payload: 1 });
    await one.events(1);
    one.socket.terminate();
    await service.push({ accessid: 'pair', created_at: 1, payload: 2 });
    assert.equal((await two.events(2)).length, 2);
    await two.close();
  });

  it('G10: a drop closes every socket of the access_id with 1000 `close`, and nobody else', async () => {
    const clients = await Promise.all([service.connect(), service.connect(), service.connect()]);
    const ids = ['dropped', 'dropped', 'kept'];
    clients.forEach((client, at) => {
      client.send({ access_id: ids[at], after: 'now' });
    });
    await Promise.all(clients.map((client) => client.typed('live')));
    assert.equal(await (await service.post('/drop_user', { drop_access_id: 'dropped' })).text(), 'true');
    assert.deepEqual(await clients[0].closed(), [1000, 'close']);
    assert.deepEqual(await clients[1].closed(), [1000, 'close']);
    const back = await service.connect();
    back.send({ access_id: 'dropped', after: 'now' });
    await back.typed('live');
    await service.push(
      { accessid: 'kept', created_at: 1, payload: 1 },
      { accessid: 'dropped', created_at: 1, payload: 1 },
    );
    await clients[2].events(1);
    await back.events(1);
    await back.close();
    await clients[2].close();
  });

  it('a message over 64 KiB closes 1009', async () => {
    const client = await service.connect();
    client.send(JSON.stringify({ access_id: 'x'.repeat(70_000), after: 'now' }));
    assert.equal((await client.closed())[0], 1009);
  });

  it('over the limit of connections the upgrade is refused with 503 and Retry-After', async () => {
    const small = await startService({ LASTSEEN_MAX_CONNECTIONS: '1' });
    const client = await small.connect();
    const answer = await upgradeAt(small.port, `Authorization: Bearer ${TOKEN}`);
    assert.match(answer, /^HTTP\/1\.1 503 [^]*\r\nRetry-After: \d+\r\n/i);
    await client.close();
    await small.stop();
  });

  function upgrade(...headers: string[]): Promise<string> {
    return upgradeAt(service.port, ...headers);
  }

  /** Waits until the server lists these readers. */
  async function connected(ids: readonly string[]): Promise<void> {
    await until(
      async () => {
        const listed = await (await service.fetch('/clients', { headers: { Accept: 'text/plain' } })).text();
        return ids.every((id) => listed.includes(`${id} `));
      },
      `the readers ${ids.join(', ')}`,
    );
  }
});

/** The first bytes of the answer to an upgrade request. */
function upgradeAt(port: number, ...headers: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp(port, '127.0.0.1');
    socket.once('error', reject);
    socket.once('data', (data) => {
      socket.destroy();
      resolve(data.toString('latin1'));
    });
    const lines = [
      'GET /subscribe_to_events HTTP/1.1',
      `Host: 127.0.0.1:${port}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ...headers,
    ];
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  });
}
