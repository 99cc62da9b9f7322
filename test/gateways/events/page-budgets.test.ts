/** Pages and long polls are connections: counted, listed, closed, and bounded in bytes however a client asks for them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import { after, before, describe, it, type TestContext } from 'node:test';
import { eachEngine } from '../../engines/each-engine.ts';
import { type Problem, type Service, startService, TOKEN } from '../../support/service.ts';
import { until } from '../../support/until.ts';

const MIB = 1024 * 1024;
const BUDGET_BYTES = 16 * MIB;

async function metric(service: Service, name: string): Promise<number> {
  const text = await (await service.fetch('/metrics')).text();
  const line = text.split('\n').find((sample) => sample.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

const pagesUnderWay = (service: Service): Promise<number> =>
  metric(service, 'lastseen_connections{gateway="events"}');

function requestText(query: string, token = TOKEN): string {
  return `GET /events?${query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`;
}

/** A connection that has sent `count` requests without reading an answer. */
async function pipelined(
  context: TestContext,
  service: Service,
  { query, count }: { readonly query: string; readonly count: number },
): Promise<Socket> {
  const socket = connectSocket(service.port, '127.0.0.1');
  socket.on('error', () => undefined);
  context.after(() => {
    socket.destroy();
  });
  await once(socket, 'connect');
  socket.pause();
  socket.write(requestText(query).repeat(count));
  return socket;
}

describe('G7: pages that nobody reads', () => {
  let service: Service;
  before(async () => {
    service = await startService({
      LASTSEEN_PAGE_BUDGET_BYTES: String(BUDGET_BYTES),
      LASTSEEN_PAGE_BUDGET_BYTES_PER_PRINCIPAL: String(BUDGET_BYTES),
    });
    const payload = 'x'.repeat(MIB - 1024);
    for (let event = 0; event < 4; event += 1) {
      await service.push({ accessid: 'large', created_at: 1, payload });
    }
  });
  after(() => service.stop());

  it('20 connections with 100 pipelined pages each: one page a connection, and all within the budget', async (context) => {
    const CONNECTIONS = 20;
    for (let connection = 0; connection < CONNECTIONS; connection += 1) {
      await pipelined(context, service, { query: 'access_id=large', count: 100 });
    }
    const reserved = 'lastseen_budget_reserved_bytes{budget="pages"}';
    const refusals = 'lastseen_budget_refusals_total{budget="pages"}';
    let largest = 0;
    let mostPages = 0;
    await until(
      async () => {
        largest = Math.max(largest, await metric(service, reserved));
        mostPages = Math.max(mostPages, await pagesUnderWay(service));
        return (await metric(service, refusals)) > 0;
      },
      () => `a refusal: ${largest} bytes were reserved, ${mostPages} pages were under way`,
    );
    assert.equal(await metric(service, 'lastseen_budget_limit_bytes{budget="pages"}'), BUDGET_BYTES);
    assert.ok(largest > 0 && largest <= BUDGET_BYTES + 64 * 1024, `${largest} bytes reserved`);
    assert.ok(mostPages > 0 && mostPages <= CONNECTIONS, `${mostPages} pages under way`);
    const clients = (await (await service.fetch('/clients')).json()) as {
      access_id: string;
      gateway: string;
    }[];
    const listed = clients.filter(({ access_id, gateway }) => access_id === 'large' && gateway === 'events');
    assert.ok(listed.length > 0 && listed.length <= CONNECTIONS, `${listed.length} pages are listed`);

    const refused = await service.fetch('/events?access_id=large');
    assert.deepEqual([refused.status, ((await refused.json()) as Problem).code], [503, 'ERR_QUEUE_FULL']);
    assert.ok(Number(refused.headers.get('Retry-After')) > 0);
  });

  it('the bytes of clients that disconnect are free again', async () => {
    await until(async () => (await pagesUnderWay(service)) === 0, 'the pages to end');
    assert.equal(await metric(service, 'lastseen_budget_reserved_bytes{budget="pages"}'), 0);
    assert.ok((await service.page('large')).events.length > 0);
  });
});

describe('G7: pages of events that are larger than a page', () => {
  const PAYLOAD_BYTES = 8 * MIB;
  eachEngine((engine) => {
    let service: Service;
    before(async () => {
      const { settings } = await engine.createDatabase();
      service = await startService({
        ...settings,
        LASTSEEN_MAX_PAYLOAD_BYTES: String(PAYLOAD_BYTES),
        LASTSEEN_MAX_BATCH_BYTES: String(2 * PAYLOAD_BYTES),
        LASTSEEN_PAGE_BUDGET_BYTES: String(2 * PAYLOAD_BYTES),
        LASTSEEN_PAGE_BUDGET_BYTES_PER_PRINCIPAL: String(2 * PAYLOAD_BYTES),
      });
      await service.push({ accessid: 'huge', created_at: 1, payload: 'x'.repeat(PAYLOAD_BYTES - 1024) });
    });
    after(() => service.stop());

    it('keep to the budget', async (context) => {
      for (let connection = 0; connection < 6; connection += 1) {
        await pipelined(context, service, { query: 'access_id=huge', count: 1 });
      }
      let largest = 0;
      await until(
        async () => {
          largest = Math.max(
            largest,
            await metric(service, 'lastseen_budget_reserved_bytes{budget="pages"}'),
          );
          return (await metric(service, 'lastseen_budget_refusals_total{budget="pages"}')) > 0;
        },
        () => `a refusal: ${largest} bytes were reserved`,
      );
      assert.ok(largest > 0 && largest <= 2 * PAYLOAD_BYTES + MIB, `${largest} bytes reserved`);
    });
  });
});

describe('G7: long polls', () => {
  let service: Service;
  before(async () => {
    service = await startService({ LASTSEEN_MAX_CONNECTIONS_PER_PRINCIPAL: '20' });
  });
  after(() => service.stop());

  it('of 2,000 pipelined polls on 20 connections 20 wait, and one event of 0.9 MB is answered to 20', async (context) => {
    const sockets = [];
    for (let connection = 0; connection < 20; connection += 1) {
      sockets.push(await pipelined(context, service, { query: 'access_id=p&after=now&wait=60', count: 100 }));
    }
    await until(async () => (await pagesUnderWay(service)) === 20, '20 long polls');

    const refused = await service.fetch('/events?access_id=p');
    assert.deepEqual(
      [refused.status, ((await refused.json()) as Problem).code],
      [503, 'ERR_TOO_MANY_CONNECTIONS'],
    );

    await service.push({ accessid: 'p', created_at: 1, payload: 'x'.repeat(900_000) });
    let bytes = 0;
    for (const socket of sockets) {
      socket.on('data', (chunk) => (bytes += chunk.length));
      socket.resume();
    }
    await until(
      () => bytes >= 20 * 900_000,
      () => `20 answers, got ${bytes} bytes`,
    );
    await until(async () => (await pagesUnderWay(service)) === 20, 'the next 20 long polls');
    assert.ok(bytes < 21 * 900_000, `${bytes} bytes for one event`);
  });
});

describe('G10: long polls', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  it('are closed by a drop of their access_id, and end with 401 when their token is revoked', async () => {
    const create = async (): Promise<{ access_token: string; jti: string }> =>
      (await (
        await service.post('/tokens', { sub: 'poller', scope: 'subscribe', access_ids: ['polled'] })
      ).json()) as { access_token: string; jti: string };
    const poll = (token: string): Promise<Response> =>
      fetch(`${service.url}/events?access_id=polled&after=now&wait=60`, {
        headers: { Authorization: `Bearer ${token}` },
      });
    const { access_token: token, jti } = await create();
    const dropped = poll(token);
    await until(async () => (await pagesUnderWay(service)) === 1, 'the long poll');
    await service.post('/drop_user', { drop_access_id: 'polled' });
    assert.deepEqual(((await (await dropped).json()) as { events: unknown[] }).events, []);

    const revoked = poll(token);
    await until(async () => (await pagesUnderWay(service)) === 1, 'the long poll');
    await service.fetch(`/tokens/${jti}`, { method: 'DELETE' });
    assert.equal((await revoked).status, 401);
  });
});

describe('pipelined requests', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  it('are answered in order, those with a body too', async (context) => {
    const socket = connectSocket(service.port, '127.0.0.1');
    context.after(() => {
      socket.destroy();
    });
    await once(socket, 'connect');
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    let sent = '';
    const ROUNDS = 50;
    for (let round = 0; round < ROUNDS; round += 1) {
      const body = JSON.stringify([{ accessid: 'order', created_at: round, payload: round }]);
      sent += `POST /push_events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      sent += requestText(`access_id=order&limit=1&timestamp=${round}`);
    }
    socket.write(sent);
    await until(
      () => text.split('HTTP/1.1 200').length > 2 * ROUNDS,
      () => `${2 * ROUNDS} answers: ${text.slice(-500)}`,
    );
    const payloads = [...text.matchAll(/"payload":(\d+)/g)].map(([, payload]) => Number(payload));
    assert.deepEqual(
      payloads,
      Array.from({ length: ROUNDS }, (_, round) => round),
    );
  });
});
