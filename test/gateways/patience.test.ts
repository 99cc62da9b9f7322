/** How long the server waits for a peer that is slow to ask: each wait has an end, and nothing is appended. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Service, startService } from '../support/service.ts';
import { logOf, openWire, requestHead, type Wire } from '../support/wire.ts';

describe('patience', () => {
  let service: Service;
  before(async () => {
    service = await startService({ LASTSEEN_REQUEST_SECONDS: '1' });
  });
  after(() => service.stop());

  /** Writes the text letter by letter until the server has closed, and gives what the server said. */
  async function trickle(wire: Wire, text: string): Promise<string> {
    let at = 0;
    const timer = setInterval(() => {
      wire.write(text[at % text.length] ?? '');
      at += 1;
    }, 50);
    try {
      return await wire.ended();
    } finally {
      clearInterval(timer);
    }
  }

  it('G8: a body that comes letter by letter is answered 408 and appends nothing', async () => {
    const wire = await openWire(service.port);
    wire.write(
      requestHead(
        service.port,
        'POST /push_events HTTP/1.1',
        'Content-Type: application/json',
        'Content-Length: 100000',
      ),
    );
    assert.match(await trickle(wire, '[{"accessid":"slow","created_at":1,"payload":1},'), /^HTTP\/1\.1 408 /);
    assert.deepEqual(logOf(service), []);
  });

  it('G8: headers that come letter by letter are answered 408', async () => {
    const wire = await openWire(service.port);
    assert.match(
      await trickle(wire, 'GET /health HTTP/1.1\r\n' + 'X-Slow: 1\r\n'.repeat(1_000)),
      /^HTTP\/1\.1 408 /,
    );
  });

  it('a socket that says nothing is closed with 1008 after its 10 s, with or without a token', async () => {
    const clients = await Promise.all([
      service.connect(),
      service.connect({ headers: { Origin: service.url } }),
    ]);
    for (const client of clients) {
      assert.equal((await client.closed())[0], 1008);
      assert.equal((await client.typed('error'))['code'], 'ERR_TIMEOUT');
    }
  });
});
