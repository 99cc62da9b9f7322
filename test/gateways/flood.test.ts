/** A client that asks without end and reads nothing: on every socket gateway it costs a bounded buffer, and no answer. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { HIGH_WATER_BYTES } from '../../src/delivery/connection.ts';
import { decode } from '../../src/gateways/fedecks/etf/decode.ts';
import { encode } from '../../src/gateways/fedecks/etf/encode.ts';
import type { Term } from '../../src/gateways/fedecks/etf/term.ts';
import { CATCH_UP_LIMIT } from '../../src/log/subscription.ts';
import { authOf } from '../support/devices.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { until } from '../support/until.ts';

const PADDING = 'x'.repeat(600);
/** What one answer may add to a buffer that is just below its mark. */
const ANSWER_BYTES = 4 * 1024;

interface Flood {
  readonly name: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  /** Sent before the flood; its answers do not count. */
  readonly first?: string;
  /** So many that their answers do not fit into the buffers of the system. */
  readonly count: number;
  message(n: number): string | Uint8Array;
  /** Which message this frame answers; `undefined` for other frames. */
  answered(frame: Buffer): number | undefined;
}

const authorization = { Authorization: `Bearer ${TOKEN}` };
const numberIn = (text: string): number | undefined => {
  const found = /n-(\d+)-/.exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
};

const FLOODS: readonly Flood[] = [
  {
    name: 'the notifier answers every wrong message',
    path: '/subscribe_to_events',
    headers: authorization,
    first: JSON.stringify({ access_id: 'flood', after: 'now' }),
    count: 60_000,
    // An error shows 60 characters of a value.
    message: (n) => JSON.stringify({ type: `n-${n}-${PADDING.slice(0, 40)}`, access_id: PADDING }),
    answered: (frame) => numberIn(frame.toString()),
  },
  {
    name: 'Phoenix answers every ping',
    path: '/socket/websocket?vsn=2.0.0',
    headers: authorization,
    first: JSON.stringify(['1', '1', 'notifications', 'phx_join', { presence: false }]),
    count: 20_000,
    message: (n) => JSON.stringify(['1', '2', 'notifications', 'ping', { text: `n-${n}-${PADDING}` }]),
    answered: (frame) => numberIn(frame.toString()),
  },
  {
    name: 'the users socket answers every echo',
    path: '/users/socket?dialect=numeric',
    headers: authorization,
    count: 20_000,
    message: (n) => JSON.stringify({ eventType: 10, message: `n-${n}-${PADDING}` }),
    answered: (frame) => numberIn(frame.toString()),
  },
  {
    name: 'a device handler answers every term',
    path: '/boxes/websocket',
    headers: { 'x-fedecks-auth': authOf({ 'fedecks-device-id': 'box-1' }) },
    count: 20_000,
    message: (n) => encode(`n-${n}-${PADDING}`),
    answered(frame) {
      const decoded = decode(frame, { maxBytes: 10_000 });
      return decoded.ok && typeof decoded.term === 'string' ? numberIn(decoded.term) : undefined;
    },
  },
];

/** What the server has in the buffers of all connections. */
async function bufferedBytesOf(service: Service): Promise<number> {
  const text = await (await service.fetch('/metrics')).text();
  return Number(/^lastseen_buffered_bytes (\d+)/m.exec(text)?.[1]);
}

describe('G7: one stalled socket with 100 subscriptions', () => {
  const FEEDS = 100;
  const EVENTS_EACH = 3;
  const PAYLOAD = 'x'.repeat(120 * 1024);
  let service: Service;
  before(async () => {
    service = await startService();
    for (let feed = 0; feed < FEEDS; feed += 1) {
      await service.push(
        ...Array.from({ length: EVENTS_EACH }, () => ({
          accessid: `feed-${feed}`,
          created_at: 1,
          payload: PAYLOAD,
        })),
      );
    }
  });
  after(() => service.stop());

  it('costs one full buffer and one page, and every feed arrives afterwards', async (context) => {
    const socket = new WebSocket(`ws://127.0.0.1:${service.port}/subscribe_to_events`, {
      headers: authorization,
    });
    context.after(() => {
      socket.terminate();
    });
    let events = 0;
    socket.on('message', (data: Buffer) => {
      events += (JSON.parse(data.toString()) as { events?: unknown[] }).events?.length ?? 0;
    });
    await once(socket, 'open');
    socket.pause();
    for (let feed = 0; feed < FEEDS; feed += 1) {
      socket.send(JSON.stringify({ type: 'subscribe', access_id: `feed-${feed}`, after: 'start' }));
    }
    let largest = 0;
    let rounds = 0;
    let before = -1;
    await until(
      async () => {
        const bytes = await bufferedBytesOf(service);
        largest = Math.max(largest, bytes);
        rounds = bytes === before && bytes > 0 ? rounds + 1 : 0;
        before = bytes;
        return rounds >= 20;
      },
      () => `the server to stop reading: ${before} bytes wait`,
    );
    const bound = 2 * (HIGH_WATER_BYTES + CATCH_UP_LIMIT.maxBytes);
    assert.ok(largest <= bound, `${largest} bytes wait, at most ${bound} may`);

    socket.resume();
    await until(
      () => events === FEEDS * EVENTS_EACH,
      () => `${FEEDS * EVENTS_EACH} events, got ${events}`,
    );
  });
});

describe('G7, G8: a flood of messages from a client that does not read', () => {
  let service: Service;
  before(async () => {
    const handler = {
      authenticate: () => true,
      onMessage: (_device: unknown, reply: Term) => ({ reply }),
    };
    service = await startService({}, undefined, {
      devices: [{ path: '/boxes/websocket', handler, secret: 's'.repeat(16), salt: 'boxes' }],
    });
  });
  after(() => service.stop());

  for (const flood of FLOODS) {
    it(`${flood.name}: bounded while nothing is read, and each in order afterwards`, async (context) => {
      const socket = new WebSocket(`ws://127.0.0.1:${service.port}${flood.path}`, { headers: flood.headers });
      const answers: number[] = [];
      socket.on('message', (data: Buffer) => {
        const n = flood.answered(data);
        if (n !== undefined) {
          answers.push(n);
        }
      });
      context.after(() => {
        socket.terminate();
      });
      await once(socket, 'open');
      if (flood.first !== undefined) {
        socket.send(flood.first);
        await once(socket, 'message');
      }
      socket.pause();
      for (let n = 0; n < flood.count; n += 1) {
        socket.send(flood.message(n));
      }
      let unsent = socket.bufferedAmount;
      let largest = 0;
      let rounds = 0;
      await until(
        async () => {
          largest = Math.max(largest, await bufferedBytesOf(service));
          rounds = socket.bufferedAmount === unsent ? rounds + 1 : 0;
          unsent = socket.bufferedAmount;
          return rounds >= 20 && largest >= HIGH_WATER_BYTES / 2;
        },
        () =>
          `the server to stop reading: ${unsent} bytes are unsent and do not change, ${largest} bytes waited`,
      );
      assert.ok(unsent > 0, 'the server has read everything');
      assert.ok(largest <= HIGH_WATER_BYTES + ANSWER_BYTES, `${largest} bytes wait`);

      socket.resume();
      await until(
        () => answers.length >= flood.count || socket.readyState !== socket.OPEN,
        () => `${flood.count} answers, got ${answers.length}`,
      );
      assert.deepEqual(
        answers,
        Array.from({ length: flood.count }, (_, n) => n),
      );
    });
  }
});

it('G8: between two messages of a flooding socket other connections get their turn', async () => {
  const service = await startService();
  const flooder = await service.connect();
  flooder.send({ access_id: 'flood', after: 'now' });
  await flooder.typed('live');
  const count = 5_000;
  // All of them in a few reads of the network.
  for (let n = 0; n < count; n += 1) {
    flooder.send({ type: 'unsubscribe', access_id: 'x' });
  }
  await flooder.typed('error');
  assert.equal((await service.fetch('/health')).status, 200);
  const answered = flooder.frames.length;
  assert.ok(answered < count, `${answered} answers of ${count} came before the answer to another client`);
  await until(
    () => flooder.frames.length > count,
    () => `${flooder.frames.length} frames`,
  );
  await flooder.close();
  await service.stop();
});
