/** G8: rubbish on every entrance. The server lives, answers clearly, takes nothing half, and others are not disturbed. */
import fc from 'fast-check';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { startService, TOKEN, type Client, type Service } from '../service.ts';

describe('hostile input', () => {
  let service: Service;
  let witness: Client;
  let witnessed = 0;
  before(async () => {
    service = await startService();
    witness = await service.connect();
    witness.send({ access_id: 'witness', after: 'now' });
    await witness.typed('live');
  });
  after(async () => {
    await witness.close();
    await service.stop();
  });

  /** The log has nothing but what the witness was given, and the witness still gets events. */
  async function stillWell(): Promise<void> {
    await service.push({ accessid: 'witness', created_at: 1, payload: witnessed });
    const events = await witness.events((witnessed += 1));
    assert.equal(
      events.at(-1)?.cursor.split('.')[1],
      witnessed.toString(36),
      'nothing else has entered the log',
    );
  }

  /** Sends bytes to the port and gives what came back until the server closed, or until `answer` is there. */
  async function raw(bytes: Buffer | string, answer = /^HTTP\/1\.1 \d+/): Promise<string> {
    const socket = connectTcp(service.port, '127.0.0.1');
    let text = '';
    socket.on('error', () => undefined);
    const ended = once(socket, 'close');
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (answer.test(text)) socket.destroy();
    });
    socket.write(bytes);
    await ended;
    return text;
  }

  it('bodies that are no batch are refused with 4xx, whatever they are', async () => {
    const headers = { 'Content-Type': 'application/json' };
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .array(fc.jsonValue())
        .map((value) => JSON.stringify([...value, { accessid: 'witness', created_at: 1 }])),
      fc.constantFrom(
        '[{"accessid":"a","created_at":1,"payload":NaN}]',
        '[{"accessid":"a","created_at":1,"payload":0x10}]',
        "[{'accessid':'a'}]",
        '[{"accessid":"a","created_at":1,"payload":1},]',
        '[{"accessid":"a","created_at":1e400,"payload":1}]',
        '[{"accessid":"a","created_at":9007199254740993,"payload":1}]',
        '[{"accessid":"a","created_at":1,"payload":1}',
        '[{"__proto__":{"accessid":"a","created_at":1,"payload":1}}]',
        `[{"accessid":"a","created_at":1,"payload":${'['.repeat(100_000)}${']'.repeat(100_000)}}]`,
        '['.repeat(1_000_000),
      ),
    );
    await fc.assert(
      fc.asyncProperty(text, async (body) => {
        if (body.trim() === '[]') return;
        const response = await service.post('/push_events', body, headers);
        assert.ok(
          response.status >= 400 && response.status < 500,
          `${String(response.status)} for ${body.slice(0, 100)}`,
        );
        assert.match(((await response.json()) as { code: string }).code, /^ERR_/);
      }),
      { numRuns: 200 },
    );
    await stillWell();
  });

  it('bodies that are no UTF-8, cut off, or longer than said take nothing', async () => {
    const head = `POST /push_events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\n`;
    const event = '[{"accessid":"a","created_at":1,"payload":"\xff\xfe"}]';
    assert.match(
      await raw(Buffer.from(`${head}Content-Length: ${String(event.length)}\r\n\r\n${event}`, 'latin1')),
      / 400 /,
    );
    assert.match(await raw(`${head}Content-Length: 99999999\r\n\r\n[`), / 413 /);
    assert.match(await raw(`${head}Content-Length: -5\r\n\r\n[]`), / 400 /);
    assert.match(await raw(`${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n[]`), / 400 /);
    const cut = connectTcp(service.port, '127.0.0.1');
    cut.write(`${head}Content-Length: 100\r\n\r\n[{"accessid":"a","created_at":1,"payload":1}]`);
    await once(cut, 'connect');
    cut.destroy();
    await stillWell();
  });

  it('bytes that are no HTTP get 400 or a closed connection', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        const answer = await raw(Buffer.concat([bytes, Buffer.from('\r\n\r\n')]), /[^]/);
        assert.ok(
          answer === '' || answer.startsWith('HTTP/1.1 4') || 'HTTP/1.1 4'.startsWith(answer),
          answer.slice(0, 50),
        );
      }),
      { numRuns: 100 },
    );
    await stillWell();
  });

  it('first messages that are none close their own socket only', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.uint8Array().map((bytes) => Buffer.from(bytes)),
        ),
        async (message) => {
          const client = await service.connect();
          client.socket.send(message);
          const [code] = await client.closed();
          assert.ok([1008, 4501].includes(code), String(code));
        },
      ),
      { numRuns: 60 },
    );
    await stillWell();
  });

  it('frames that break the WebSocket protocol close their own socket only', async () => {
    const upgrade =
      `GET /subscribe_to_events HTTP/1.1\r\nHost: 127.0.0.1:${String(service.port)}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`;
    for (const frame of [
      [0x81, 0x01, 0x41], // not masked
      [0xf1, 0x81, 1, 2, 3, 4, 0x41], // reserved bits
      [0x83, 0x80, 1, 2, 3, 4], // unknown opcode
      [0x80, 0x80, 1, 2, 3, 4], // continuation of nothing
      [0x89, 0xfe, 0x7f, 0xff], // ping longer than 125
      [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // absurd length
      [0x81, 0x81, 0, 0, 0, 0, 0xff], // text that is no UTF-8
    ]) {
      const answer = await raw(Buffer.concat([Buffer.from(upgrade), Buffer.from(frame)]), /never/);
      assert.match(answer, /^HTTP\/1\.1 101 /);
    }
    await stillWell();
  });

  it('a socket that says nothing is closed with 1008 after its 10 s, with or without a token', async () => {
    const clients = await Promise.all([service.connect(), service.connect({ headers: {} })]);
    for (const client of clients) {
      assert.equal((await client.closed())[0], 1008);
      assert.equal((await client.typed('error'))['code'], 'ERR_TIMEOUT');
    }
    await stillWell();
  });

  it('queries and paths that are none get a clear refusal', async () => {
    for (const path of ['/events?access_id[]=1', '/%ff', '//', '/events/../x', '/events?access_id=%00']) {
      const answer = await raw(`GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 4\d\d /, path);
    }
    await stillWell();
  });
});
