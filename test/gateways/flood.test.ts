/** A client that asks without end and reads nothing: on every socket gateway it costs a bounded buffer, and no answer. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { HIGH_WATER_BYTES } from '../../src/delivery/session.ts';
import { decode } from '../../src/gateways/fedecks/etf/decode.ts';
import { encode } from '../../src/gateways/fedecks/etf/encode.ts';
import type { Term } from '../../src/gateways/fedecks/etf/term.ts';
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

  async function bufferedBytes(): Promise<number> {
    const text = await (await service.fetch('/metrics')).text();
    return Number(/^lastseen_buffered_bytes (\d+)/m.exec(text)?.[1]);
  }

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
          largest = Math.max(largest, await bufferedBytes());
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
