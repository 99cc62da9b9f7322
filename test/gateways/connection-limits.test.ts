/** Limits of connections hold for clients that come at the same moment. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { eachEngine } from '../engines/each-engine.ts';
import { type Service, startService } from '../support/service.ts';
import { until } from '../support/until.ts';

const LIMIT = 5;
const CLIENTS = 60;

describe('G7: connections of one principal that open at the same moment', () => {
  eachEngine((engine) => {
    let service: Service;
    let token: string;
    before(async () => {
      const { settings } = await engine.createDatabase();
      service = await startService({
        ...settings,
        LASTSEEN_MAX_CONNECTIONS_PER_PRINCIPAL: String(LIMIT),
      });
      const response = await service.post('/tokens', { sub: 'racer', scope: 'subscribe', access_ids: ['*'] });
      token = ((await response.json()) as { access_token: string }).access_token;
    });
    after(() => service.stop());

    async function openConnections(): Promise<number> {
      const clients = (await (await service.fetch('/clients')).json()) as { access_id: string }[];
      return clients.filter(({ access_id }) => access_id === 'raced').length;
    }

    for (const accept of ['application/json', 'text/event-stream']) {
      it(`of ${CLIENTS} requests for ${accept}, ${LIMIT} are accepted`, async () => {
        const ending = new AbortController();
        let refused = 0;
        const requests = Array.from({ length: CLIENTS }, async () => {
          const response = await fetch(`${service.url}/events?access_id=raced&after=now&wait=60`, {
            headers: { Authorization: `Bearer ${token}`, Accept: accept },
            signal: ending.signal,
          });
          refused += response.status === 503 ? 1 : 0;
          await response.text();
        });
        const settled = Promise.allSettled(requests);
        await until(
          async () => refused + (await openConnections()) >= CLIENTS,
          () => `${CLIENTS} decisions, ${refused} were refusals`,
        );
        assert.deepEqual([await openConnections(), refused], [LIMIT, CLIENTS - LIMIT]);
        ending.abort();
        await settled;
        await until(async () => (await openConnections()) === 0, 'the connections to end');
      });
    }

    it(`of ${CLIENTS} sockets, ${LIMIT} are subscribed`, async (context) => {
      const sockets = Array.from({ length: CLIENTS }, () => {
        const socket = new WebSocket(`ws://127.0.0.1:${service.port}/subscribe_to_events`, {
          headers: { Authorization: `Bearer ${token}` },
        });
        context.after(() => {
          socket.terminate();
        });
        return socket;
      });
      let closed = 0;
      for (const socket of sockets) {
        socket.on('close', () => (closed += 1));
      }
      await Promise.all(sockets.map((socket) => once(socket, 'open')));
      for (const socket of sockets) {
        socket.send(JSON.stringify({ access_id: 'raced', after: 'now' }));
      }
      await until(
        async () => closed + (await openConnections()) >= CLIENTS,
        () => `${CLIENTS} decisions, ${closed} sockets were closed`,
      );
      assert.deepEqual([await openConnections(), closed], [LIMIT, CLIENTS - LIMIT]);
    });
  });
});
