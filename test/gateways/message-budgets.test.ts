/** Socket messages that never end: they share the budget of bodies, and have a time limit. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { authOf } from '../support/devices.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const PART = 'x'.repeat(64 * 1024);

async function reservedBytes(service: Service): Promise<number> {
  const text = await (await service.fetch('/metrics')).text();
  return Number(/^lastseen_budget_reserved_bytes\{budget="bodies"\} (\d+)/m.exec(text)?.[1]);
}

interface Peer {
  readonly socket: WebSocket;
  readonly frames: string[];
  code(): number | undefined;
}

async function open(
  context: TestContext,
  service: Service,
  { path, headers }: { readonly path: string; readonly headers: Record<string, string> },
): Promise<Peer> {
  const socket = new WebSocket(`ws://127.0.0.1:${service.port}${path}`, { headers });
  const frames: string[] = [];
  let code: number | undefined;
  socket.on('error', () => undefined);
  socket.on('close', (closeCode) => (code = closeCode));
  socket.on('message', (data: Buffer) => frames.push(data.toString()));
  context.after(() => {
    socket.terminate();
  });
  await once(socket, 'open');
  return { socket, frames, code: () => code };
}

const phoenixOf = (token: string): { path: string; headers: Record<string, string> } => ({
  path: '/socket/websocket?vsn=2.0.0',
  headers: { Authorization: `Bearer ${token}` },
});

/** Sends `count` parts of a message that has more of them. */
function sendParts(socket: WebSocket, count: number): void {
  for (let part = 0; part < count; part += 1) {
    socket.send(PART, { fin: false });
  }
}

async function tokenOf(service: Service, sub: string): Promise<string> {
  const response = await service.post('/tokens', { sub, scope: 'subscribe push', access_ids: ['*'] });
  return ((await response.json()) as { access_token: string }).access_token;
}

describe('G7: socket messages that never end', () => {
  let service: Service;
  before(async () => {
    service = await startService({
      LASTSEEN_BODY_BUDGET_BYTES: String(8 * MIB),
      LASTSEEN_BODY_BUDGET_BYTES_PER_PRINCIPAL: String(2 * MIB),
    });
  });
  after(() => service.stop());

  it('one principal fills its share, its further sockets close with 1013, and others push', async (context) => {
    const token = await tokenOf(service, 'greedy');
    const peers: Peer[] = [];
    for (let count = 0; count < 12; count += 1) {
      const peer = await open(context, service, phoenixOf(token));
      sendParts(peer.socket, 8);
      peers.push(peer);
    }
    const closed = (): Peer[] => peers.filter(({ code }) => code() !== undefined);
    await until(
      () => closed().length >= 8,
      () => `8 sockets to close, got ${closed().length}`,
    );
    assert.deepEqual(new Set(closed().map(({ code }) => code())), new Set([1013]));
    assert.ok(peers.length - closed().length >= 3, 'the share serves at least three');
    const reserved = await reservedBytes(service);
    assert.ok(reserved > MIB && reserved <= 2 * MIB, `${reserved} bytes reserved`);
    await service.push({ accessid: 'others', created_at: 1, payload: 'x'.repeat(500_000) });
  });

  it('a message that ends is handled, and its bytes are free again', async (context) => {
    await until(async () => (await reservedBytes(service)) === 0, 'the closed sockets to end');
    const { socket, frames } = await open(context, service, phoenixOf(TOKEN));
    socket.send(JSON.stringify(['1', '1', 'events:large', 'phx_join', {}]));
    for (let round = 0; round < 8; round += 1) {
      const text = JSON.stringify([
        '1',
        `ref-${round}`,
        'events:large',
        'push',
        { payload: PART.repeat(10) },
      ]);
      for (let start = 0; start < text.length; start += PART.length) {
        socket.send(text.slice(start, start + PART.length), { fin: start + PART.length >= text.length });
        socket.ping(PART.slice(0, 100));
      }
      await until(
        () => frames.some((frame) => frame.includes(`"ref-${round}"`)),
        () => `the answer to message ${round}: ${frames.map((frame) => frame.slice(0, 300)).join('\n')}`,
      );
    }
    await until(async () => (await reservedBytes(service)) === 0, 'the bytes to be free');
  });
});

describe('G7: the parts of a socket message', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  it('more than 1,024 fragments of a message close the socket with 1008', async (context) => {
    const { socket, code } = await open(context, service, phoenixOf(TOKEN));
    for (let part = 0; part < 1_100; part += 1) {
      socket.send('x', { fin: false });
    }
    await until(() => code() !== undefined, 'the socket to close');
    assert.equal(code(), 1008);
  });

  it('pings and pongs cost nothing, however many', async (context) => {
    const { socket, frames, code } = await open(context, service, phoenixOf(TOKEN));
    let pongs = 0;
    socket.on('pong', () => (pongs += 1));
    for (let round = 0; round < 1_000; round += 1) {
      socket.ping('x'.repeat(round % 126));
      socket.pong('x'.repeat(round % 50));
      if (round % 3 === 0) {
        await until(() => pongs === round + 1, 'the pong');
      }
    }
    await until(
      () => pongs === 1_000,
      () => `1,000 pongs, got ${pongs}`,
    );
    assert.equal(await reservedBytes(service), 0);
    socket.send(JSON.stringify(['1', '1', 'phoenix', 'heartbeat', {}]));
    await until(() => frames.length === 1, 'the answer to a heartbeat');
    assert.equal(code(), undefined);
  });
});

describe('G7: a socket message that takes too long', () => {
  let service: Service;
  before(async () => {
    service = await startService({ LASTSEEN_REQUEST_SECONDS: '1' }, undefined, {
      devices: [
        {
          path: '/boxes/websocket',
          handler: { authenticate: () => true },
          secret: 's'.repeat(16),
          salt: 'boxes',
        },
      ],
    });
  });
  after(() => service.stop());

  const gateways = {
    Phoenix: phoenixOf(TOKEN),
    'a device handler': {
      path: '/boxes/websocket',
      headers: { 'x-fedecks-auth': authOf({ 'fedecks-device-id': 'box-1' }) },
    },
    'the notifier': { path: '/subscribe_to_events', headers: { Authorization: `Bearer ${TOKEN}` } },
    'the users socket': { path: '/users/socket', headers: { Authorization: `Bearer ${TOKEN}` } },
  };
  for (const [name, wire] of Object.entries(gateways)) {
    it(`${name} closes after LASTSEEN_REQUEST_SECONDS, although bytes arrive`, async (context) => {
      const { socket, code } = await open(context, service, wire);
      socket.send('x'.repeat(24 * 1024), { fin: false });
      const timer = setInterval(() => {
        if (socket.readyState === socket.OPEN) {
          socket.send('x', { fin: false });
        }
      }, 100);
      context.after(() => {
        clearInterval(timer);
      });
      await until(() => code() !== undefined, 'the socket to close');
      assert.equal(code(), 4003);
    });
  }
});
