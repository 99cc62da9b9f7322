/** Hostile bytes on every entrance: a clear error each, nothing half done, and nobody else disturbed (G4, G8). */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { type Client, type Problem, type Service, startService } from '../support/service.ts';
import {
  clientFrame,
  closeCodeIn,
  logOf,
  type LogRow,
  openFrameWire,
  openWire,
  requestHead,
  UPGRADE,
} from '../support/wire.ts';

const MAX_BATCH_BYTES = 2 * 1024 * 1024;
const DEEP = 100_000;
const deepArray = '['.repeat(DEEP) + ']'.repeat(DEEP);
const deepObject = '{"a":'.repeat(DEEP) + '1' + '}'.repeat(DEEP);
const GOOD = '{"accessid":"prey","created_at":1,"payload":1}';

describe('hostile bytes', () => {
  let service: Service;
  let healthy: Client;
  let healthyEvents = 0;
  let rows: LogRow[] = [];

  before(async () => {
    service = await startService({ LASTSEEN_MAX_BATCH_BYTES: String(MAX_BATCH_BYTES) });
    healthy = await service.connect();
    healthy.send({ access_id: 'healthy', after: 'now' });
    await healthy.typed('live');
  });
  after(async () => {
    await healthy.close();
    await service.stop();
  });

  beforeEach(() => {
    rows = logOf(service);
  });
  // After each attack: the log is as it was, and a push reaches the healthy subscriber in order.
  afterEach(async () => {
    assert.deepEqual(logOf(service), rows, 'nothing was appended');
    healthyEvents += 1;
    await service.push({ accessid: 'healthy', created_at: 1, payload: healthyEvents });
    assert.deepEqual(
      (await healthy.events(healthyEvents)).map((event) => [event.version, event.payload]),
      Array.from({ length: healthyEvents }, (_, at) => [at + 1, at + 1]),
    );
    assert.equal((await fetch(`${service.url}/health`)).status, 200);
  });

  /** The problem that a body gets, which must be one, of that status. */
  async function refused(
    path: string,
    body: string | Uint8Array,
    status: number,
    headers: Record<string, string> = {},
  ): Promise<Problem> {
    const response = await service.fetch(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: body as string,
    });
    const text = await response.text();
    const sent = Buffer.from(body).toString('latin1').slice(0, 60);
    assert.equal(response.status, status, `${path} ${sent}: ${text}`);
    assert.match(response.headers.get('content-type') ?? '', /^application\/problem\+json/);
    const problem = JSON.parse(text) as Problem;
    assert.match(problem.code, /^ERR_[A-Z_]+$/);
    assert.notEqual(problem.detail, '');
    return problem;
  }

  describe('G4: bodies', () => {
    it('random bytes are refused with 400 at both doors', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.uint8Array({ maxLength: 200 }),
          fc.constantFrom('/push_events', '/drop_user'),
          async (bytes, path) => {
            fc.pre(!/^\s*(\[\s*\]|\{.*\})\s*$/.test(Buffer.from(bytes).toString('latin1')));
            await refused(path, bytes, 400);
          },
        ),
        { numRuns: 150 },
      );
    });

    it('a batch cut off at any byte is refused with 400', async () => {
      const body = Buffer.from(`[${GOOD}, {"access_id":"prey","created_at":-1,"payload":{"é":["\\"]😀"]}}]`);
      for (let length = 0; length < body.length; length += 1) {
        await refused('/push_events', body.subarray(0, length), 400);
      }
    });

    it('what is JSON5, JavaScript, invalid UTF-8, BOM-marked or gzip is refused', async () => {
      const inside = (payload: string): string => `[{"accessid":"prey","created_at":1,"payload":${payload}}]`;
      for (const body of [
        "[{'accessid':'prey','created_at':1,'payload':1}]",
        '[{accessid:"prey",created_at:1,payload:1}]',
        `[${GOOD},]`,
        `[${GOOD}]x`,
        `[${GOOD}][]`,
        `[${GOOD} ${GOOD}]`,
        `// comment\n[${GOOD}]`,
        `[/**/${GOOD}]`,
        `\ufeff[${GOOD}]`,
        `\u00a0[${GOOD}]`,
        `\u2028[${GOOD}]`,
        `[${GOOD}]\u0000`,
        ...['NaN', 'Infinity', '-Infinity', '0x10', '+1', '.5', '1.', '01', '1e', 'undefined', 'True'].map(
          inside,
        ),
        ...['"\\x41"', '"\\u12"', '"\n"', '"\t"', '"', '"\\"', '{"a":1,}', '[1,]', '{"a"}', '{1:1}'].map(
          inside,
        ),
      ]) {
        const problem = await refused('/push_events', body, 400);
        assert.equal(problem.code, 'ERR_BODY_MALFORMED', body);
      }
      for (const bytes of [
        [0xff],
        [0xc0, 0x80],
        [0xed, 0xa0, 0x80],
        [0xf4, 0x90, 0x80, 0x80],
        [0xe2, 0x82],
      ]) {
        const body = Buffer.concat([
          Buffer.from('[{"accessid":"prey","created_at":1,"payload":"'),
          Buffer.from(bytes),
          Buffer.from('"}]'),
        ]);
        assert.equal((await refused('/push_events', body, 400)).code, 'ERR_BODY_MALFORMED');
      }
      await refused('/push_events', Buffer.from(`[${GOOD}]`, 'utf16le'), 400);
      const packed = gzipSync(`[${GOOD}]`);
      await refused('/push_events', packed, 400);
      await refused('/push_events', packed, 415, { 'Content-Encoding': 'gzip' });
      await refused('/push_events', `[${GOOD}]`, 415, { 'Content-Type': 'application/json; charset=utf-16' });
    });

    it('a payload of 100,000 levels is refused with 400 and named', async () => {
      for (const deep of [deepArray, deepObject]) {
        const body = `[${GOOD},{"accessid":"prey","created_at":1,"payload":${deep}}]`;
        assert.equal((await refused('/push_events', body, 400)).errors?.[0]?.pointer, '/1/payload');
      }
      await refused('/push_events', '['.repeat(MAX_BATCH_BYTES - 1), 400);
    });

    it('100,000 levels where a plain value belongs are refused with 400, and the place is named', async () => {
      for (const deep of [deepArray, deepObject]) {
        for (const [body, pointer] of [
          [`[${GOOD},{"accessid":${deep},"created_at":1,"payload":1}]`, '/1/accessid'],
          [`[${GOOD},{"accessid":"prey","created_at":${deep},"payload":1}]`, '/1/created_at'],
          [`[${GOOD},{"accessid":"prey","created_at":1,"payload":1,"id":${deep}}]`, '/1/id'],
          [`[${GOOD},${deepArray}]`, '/1'],
        ] as const) {
          const problem = await refused('/push_events', body, 400);
          assert.equal(problem.errors?.[0]?.pointer, pointer);
        }
      }
      assert.equal((await refused('/push_events', deepObject, 400)).errors?.[0]?.pointer, '');
    });

    it('deep nesting is refused with 400 by drop_user, too', async () => {
      const deep = '['.repeat(8_000) + ']'.repeat(8_000);
      await refused('/drop_user', deep, 400);
      await refused('/drop_user', `{"drop_access_id":${deep}}`, 400);
    });

    it('wrong types at every place are refused with 400, and the place is named', async () => {
      const wrong = ['null', 'true', '7', '-1.5', '1e400', '9007199254740993', '""', '[]', '{}', '[[]]'];
      for (const value of wrong) {
        for (const [field, event] of [
          ['accessid', `{"accessid":${value},"created_at":1,"payload":1}`],
          ['access_id', `{"access_id":${value},"created_at":1,"payload":1}`],
          ...(value === '7' ? [] : [['created_at', `{"accessid":"prey","created_at":${value},"payload":1}`]]),
          ...(value === 'null'
            ? []
            : [['id', `{"accessid":"prey","created_at":1,"payload":1,"id":${value}}`]]),
        ] as [string, string][]) {
          const problem = await refused('/push_events', `[${GOOD},${event}]`, 400);
          assert.deepEqual(
            [problem.code, problem.errors?.[0]?.pointer],
            ['ERR_EVENT_INVALID', `/1/${field}`],
            event,
          );
        }
        if (value !== '{}') {
          const problem = await refused('/push_events', `[${GOOD},${value}]`, 400);
          assert.equal(problem.errors?.[0]?.pointer, '/1', value);
        }
        if (!value.startsWith('[')) {
          await refused('/push_events', value, 400);
        }
        await refused('/drop_user', `{"drop_access_id":${value}}`, 400);
      }
      for (const body of ['[]', 'null', '{}', '"prey"', '[{"drop_access_id":"prey"}]']) {
        await refused('/drop_user', body, 400);
      }
    });

    it('G12: a refusal shows a value shortened', async () => {
      const long = 'x'.repeat(100_000);
      const { detail } = await refused(
        '/push_events',
        `[{"accessid":"prey","created_at":"${long}","payload":1}]`,
        400,
      );
      assert.ok(detail.length < 300, `${detail.length} characters`);
    });

    it('too many bytes are refused with 413, announced or not', async () => {
      const port = service.port;
      const tooMany = String(MAX_BATCH_BYTES + 1);
      const announced = await openWire(port);
      announced.write(
        requestHead(
          port,
          'POST /push_events HTTP/1.1',
          'Content-Type: application/json',
          `Content-Length: ${tooMany}`,
        ),
      );
      assert.match(await announced.ended(), /^HTTP\/1\.1 413 [^]*"ERR_TOO_LARGE"/);
      const streamed = await openWire(port);
      streamed.write(
        requestHead(
          port,
          'POST /push_events HTTP/1.1',
          'Content-Type: application/json',
          'Transfer-Encoding: chunked',
        ),
      );
      const chunk = `10000\r\n${' '.repeat(65_536)}\r\n`;
      for (let at = 0; at <= MAX_BATCH_BYTES / 65_536; at += 1) {
        streamed.write(chunk);
      }
      assert.match(await streamed.until((all) => all.includes('}')), /^HTTP\/1\.1 413 [^]*"ERR_TOO_LARGE"/);
      streamed.cut();
      await refused('/drop_user', `{"drop_access_id":"prey","x":"${'x'.repeat(20_000)}"}`, 413);
    });
  });

  describe('G4: HTTP as bytes', () => {
    it('a body that never becomes whole appends nothing', async () => {
      const port = service.port;
      const body = `[${GOOD}]`;
      for (const framing of [`Content-Length: ${body.length + 1}`, 'Transfer-Encoding: chunked']) {
        const wire = await openWire(port);
        wire.write(
          requestHead(port, 'POST /push_events HTTP/1.1', 'Content-Type: application/json', framing),
        );
        for (const byte of framing.startsWith('C') ? body : `${body.length.toString(16)}\r\n${body}\r\n`) {
          wire.write(byte);
        }
        // The server has surely read it once it answers another connection that came later.
        assert.equal((await service.fetch('/clients')).status, 200);
        wire.cut();
      }
    });

    it('what is no HTTP is answered 400 or 431 and closed', async () => {
      const port = service.port;
      const head = 'POST /push_events HTTP/1.1';
      const json = 'Content-Type: application/json';
      for (const bytes of [
        '\u0000\u0001\u0002\u0003\r\n\r\n',
        '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003',
        'HELO example.com\r\n\r\n',
        'GET\r\n\r\n',
        'GET / HTTP/9.9\r\n\r\n',
        'GET /events HTTP/1.1\r\n\r\n',
        requestHead(port, head, json, 'Content-Length: -1') + '[]',
        requestHead(port, head, json, 'Content-Length: x') + '[]',
        requestHead(port, head, json, 'Content-Length: 2', 'Content-Length: 3') + '[]',
        requestHead(port, head, json, 'Content-Length: 2', 'Transfer-Encoding: chunked') + '0\r\n\r\n',
        requestHead(port, head, json, 'Transfer-Encoding: chunked') + 'zz\r\n[]\r\n0\r\n\r\n',
        requestHead(port, head, 'Content Type: x'),
        requestHead(port, head, `X: ${'x'.repeat(100_000)}`),
        requestHead(port, `GET /${'x'.repeat(100_000)} HTTP/1.1`),
      ]) {
        const wire = await openWire(port);
        wire.write(Buffer.from(bytes, 'latin1'));
        assert.match(await wire.ended(), /^HTTP\/1\.1 (400|431) /, JSON.stringify(bytes.slice(0, 80)));
      }
    });

    it('a push without a body is refused with 400', async () => {
      const port = service.port;
      for (const framing of [[], ['Content-Length: 0']]) {
        const wire = await openWire(port);
        wire.write(
          requestHead(
            port,
            'POST /push_events HTTP/1.1',
            'Content-Type: application/json',
            'Connection: close',
            ...framing,
          ),
        );
        assert.match(await wire.ended(), /^HTTP\/1\.1 400 [^]*"ERR_BODY_MALFORMED"/);
      }
    });

    it('paths and queries that cannot be read are refused with 4xx', async () => {
      const port = service.port;
      for (const path of ['/%', '/%ff', '/events?access_id=%00', '/events', '/../../etc/passwd', '//', '*']) {
        const wire = await openWire(port);
        wire.write(requestHead(port, `GET ${path} HTTP/1.1`, 'Connection: close'));
        assert.match(await wire.ended(), /^HTTP\/1\.1 (400|404) /, path);
      }
    });

    it('a wrong upgrade is told why', async () => {
      const port = service.port;
      const [upgrade, connection, version, key] = UPGRADE as [string, string, string, string];
      for (const headers of [
        [upgrade, connection, version],
        [upgrade, connection, version, 'Sec-WebSocket-Key: short'],
        [upgrade, connection, key],
        [upgrade, connection, key, 'Sec-WebSocket-Version: 12'],
        ['Upgrade: h2c', connection, version, key],
        [upgrade, connection, version, key, 'Sec-WebSocket-Protocol: a,,b'],
      ]) {
        const wire = await openWire(port);
        wire.write(requestHead(port, 'GET /subscribe_to_events HTTP/1.1', ...headers));
        assert.match(
          await wire.until((received) => received.includes('\r\n\r\n')),
          /^HTTP\/1\.1 4\d\d /,
          headers.join(),
        );
        wire.cut();
      }
    });

    it('a request that offers another protocol, as the HTTP client of Java does, gets an answer', async () => {
      const wire = await openWire(service.port);
      wire.write(
        requestHead(
          service.port,
          'POST /push_events HTTP/1.1',
          'Connection: Upgrade, HTTP2-Settings',
          'Upgrade: h2c',
          'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
          'Content-Type: application/json',
          'Content-Length: 2',
        ) + '[]',
      );
      assert.match(await wire.until((received) => received.includes('\r\n\r\n')), /^HTTP\/1\.1 (200|4\d\d) /);
      wire.cut();
    });
  });

  describe('G8: WebSocket frames', () => {
    const first = '{"access_id":"prey","after":"now"}';
    const deep = '['.repeat(30_000) + ']'.repeat(30_000);

    it('bytes that break the protocol end that socket only, with the code that says so', async () => {
      for (const [what, bytes, code] of [
        ['not masked', clientFrame(first, { isMasked: false }), 1002],
        ['reserved bit 1', clientFrame(first, { reserved: 4 }), 1002],
        ['reserved bit 2', clientFrame(first, { reserved: 2 }), 1002],
        ['reserved bit 3', clientFrame(first, { reserved: 1 }), 1002],
        ['unknown opcode', clientFrame(first, { opcode: 3 }), 1002],
        ['unknown control opcode', clientFrame('', { opcode: 11 }), 1002],
        ['continuation of nothing', clientFrame(first, { opcode: 0 }), 1002],
        ['ping in pieces', clientFrame('', { opcode: 9, isFinal: false }), 1002],
        ['ping too long', clientFrame('x'.repeat(126), { opcode: 9 }), 1002],
        ['close of one byte', clientFrame('x', { opcode: 8 }), 1002],
        ['close with a forbidden code', clientFrame(new Uint8Array([3, 236]), { opcode: 8 }), 1002],
        ['text that is no UTF-8', clientFrame(new Uint8Array([0xff, 0xfe])), 1007],
        ['a length of 2^63', Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), 1009],
        ['a length over 64 KiB', Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1]), 1009],
      ] as const) {
        for (const isSubscribed of [false, true]) {
          const wire = await openFrameWire(service.port);
          if (isSubscribed) {
            wire.write(clientFrame(first));
            await wire.until((received) => received.includes('"live"'));
          }
          wire.write(bytes);
          const received = await wire.until((all) => closeCodeIn(all) !== undefined);
          assert.equal(closeCodeIn(received), code, what);
          wire.cut();
        }
      }
    });

    it('random bytes instead of frames disturb nobody', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.uint8Array({ minLength: 1, maxLength: 300 }),
          fc.boolean(),
          async (bytes, isSubscribed) => {
            const wire = await openFrameWire(service.port);
            if (isSubscribed) {
              wire.write(clientFrame(first));
              await wire.until((received) => received.includes('"live"'));
            }
            wire.write(bytes);
            wire.cut();
            assert.equal((await fetch(`${service.url}/health`)).status, 200);
          },
        ),
        { numRuns: 60 },
      );
    });

    it('first messages of any text get the original refusal or a named error, and close', async () => {
      const wrong = ['null', 'true', '7', '1.5', '1e400', '9007199254740993', '""', '[]', '{}'];
      const messages = [
        '',
        '\ufeff{"access_id":"prey","timestamp":1}',
        "{'access_id':'prey','timestamp':1}",
        '{"access_id":"prey","timestamp":1,}',
        '{"access_id":"\\ud800","after":"now"}',
        '{"access_id":"a\\u0000","timestamp":1}',
        `{"access_id":"${'x'.repeat(257)}","timestamp":1}`,
        '{"type":"unsubscribe","access_id":"prey"}',
        '{"type":"token","token":"x"}',
        ...wrong.filter((value) => value !== '7').map((value) => `{"access_id":"prey","timestamp":${value}}`),
        ...wrong.map((value) => `{"access_id":${value},"timestamp":1}`),
        ...wrong.map((value) => `{"access_id":${value},"after":"now"}`),
        ...wrong.map((value) => `{"access_id":"prey","after":${value}}`),
        ...wrong.map((value) => `{"type":${value},"access_id":"prey","after":"now"}`),
      ];
      for (const message of messages) {
        const client = await service.connect();
        client.send(message);
        const [code] = await client.closed();
        const frame = client.frames[0] ?? '';
        const shown = message.slice(0, 80);
        assert.equal(client.frames.length, 1, shown);
        if (code === 4501) {
          assert.match(frame, /"ERR_CURSOR_MALFORMED"/, shown);
        } else {
          assert.equal(code, 1008, `${shown}: ${frame}`);
          assert.match(frame, /^Wrong JSON announcement$|"code":"ERR_REQUEST_INVALID"/, shown);
        }
      }
    });

    it('later messages of any text get a named error each, and the socket goes on', async () => {
      const client = await service.connect();
      client.send(first);
      await client.typed('live');
      const bad = [
        '',
        '\u0000',
        'null',
        '[]',
        '{"type":"subscribe","access_id":"prey2","after":5}',
        '{"type":"__proto__"}',
        '{"__proto__":{"type":"unsubscribe","access_id":"prey"}}',
        '{"type":"unsubscribe","access_id":"never"}',
      ];
      for (const message of bad) {
        const count = client.frames.length;
        client.send(message);
        await client.frame(() => client.frames.length > count);
        assert.match(client.frames.at(-1) ?? '', /"code":"ERR_REQUEST_INVALID"/, message.slice(0, 80));
      }
      assert.equal(client.socket.readyState, client.socket.OPEN);
      await client.close();
    });

    it('deep nesting in a first message gets a refusal and 1008', async () => {
      for (const message of [
        deep,
        `{"access_id":${deep},"timestamp":1}`,
        `{"access_id":"prey","timestamp":${deep}}`,
        `{"access_id":"prey","after":${deep}}`,
        `{"access_id":${deep},"after":"now"}`,
        `{"type":${deep},"access_id":"prey","after":"now"}`,
      ]) {
        const client = await service.connect();
        client.send(message);
        assert.equal((await client.closed())[0], 1008, `${message.slice(0, 60)}: ${client.frames.join()}`);
      }
    });

    it('deep nesting in a later message gets a named error, and the socket goes on', async () => {
      const client = await service.connect();
      client.send(first);
      await client.typed('live');
      for (const message of [
        deep,
        `{"type":${deep}}`,
        `{"type":"subscribe","access_id":${deep},"after":"now"}`,
        `{"type":"subscribe","access_id":"prey2","after":${deep}}`,
        `{"type":"unsubscribe","access_id":${deep}}`,
      ]) {
        const count = client.frames.length;
        client.send(message);
        await client.frame(() => client.frames.length > count);
        assert.match(client.frames.at(-1) ?? '', /"code":"ERR_REQUEST_INVALID"/, message.slice(0, 60));
      }
      await client.close();
    });

    it('binary frames are read as text is', async () => {
      const client = await service.connect();
      client.socket.send(Buffer.from(first), { binary: true });
      await client.typed('live');
      await client.close();
    });

    it('binary frames that are no UTF-8 are refused, not read as another name', async () => {
      const client = await service.connect();
      client.socket.send(Buffer.from('{"access_id":"prey\xff","after":"now"}', 'latin1'), { binary: true });
      assert.match(await client.frame(() => true), /^Wrong JSON announcement$|"type":"error"/);
      await client.closed();
    });

    it('a message in many fragments is read whole, and a flood of them is closed 1009', async () => {
      const good = await openFrameWire(service.port);
      [...first].forEach((letter, at) => {
        good.write(clientFrame(letter, { opcode: at === 0 ? 1 : 0, isFinal: at === first.length - 1 }));
      });
      await good.until((received) => received.includes('"live"'));
      good.cut();
      const flood = await openFrameWire(service.port);
      flood.write(clientFrame('x'.repeat(1_000), { isFinal: false }));
      for (let at = 0; at < 66; at += 1) {
        flood.write(clientFrame('x'.repeat(1_000), { opcode: 0, isFinal: false }));
      }
      assert.equal(closeCodeIn(await flood.until((all) => closeCodeIn(all) !== undefined)), 1009);
      flood.cut();
      const pieces = await openFrameWire(service.port);
      pieces.write(clientFrame('x', { isFinal: false }));
      pieces.write(
        Buffer.concat(Array.from({ length: 70_000 }, () => clientFrame('x', { opcode: 0, isFinal: false }))),
      );
      assert.ok(
        [1008, 1009].includes(closeCodeIn(await pieces.until((all) => closeCodeIn(all) !== undefined)) ?? 0),
      );
      pieces.cut();
    });

    it('messages right behind the handshake, behind a refusal and behind a close are harmless', async () => {
      const eager = await openWire(service.port);
      const handshake = requestHead(service.port, 'GET /subscribe_to_events HTTP/1.1', ...UPGRADE);
      eager.write(Buffer.concat([Buffer.from(handshake), clientFrame(first)]));
      await eager.until((received) => received.includes('"live"'));
      eager.cut();

      const stubborn = await openFrameWire(service.port);
      stubborn.write(Buffer.concat([clientFrame('{'), clientFrame(first), clientFrame('{"type":"token"}')]));
      const refusal = await stubborn.until((all) => closeCodeIn(all) !== undefined);
      assert.match(refusal, /Wrong JSON announcement/);
      assert.doesNotMatch(refusal, /"subscribed"/);
      stubborn.write(clientFrame(first));
      stubborn.cut();

      const leaving = await openFrameWire(service.port);
      leaving.write(
        Buffer.concat([clientFrame(new Uint8Array([3, 232]), { opcode: 8 }), clientFrame(first)]),
      );
      const goodbye = await leaving.ended();
      assert.equal(closeCodeIn(goodbye), 1000);
      assert.doesNotMatch(goodbye, /"subscribed"/);
    });

    it('a burst of thousands of messages is answered one by one, in order', async () => {
      const client = await service.connect();
      client.send(first);
      await client.typed('live');
      const count = 2_000;
      for (let at = 0; at < count; at += 1) {
        client.send({ type: 'unsubscribe', access_id: `never${at}` });
      }
      await client.frame((frame) => frame.includes(`"never${count - 1}"`));
      const errors = client.frames
        .map((frame) => JSON.parse(frame) as { type: string; access_id?: string })
        .filter((frame) => frame.type === 'error');
      assert.deepEqual(
        errors.map((error) => error.access_id),
        Array.from({ length: count }, (_, at) => `never${at}`),
      );
      await client.close();
    });
  });

  it('G3: what was sent twice in one event is taken once, the last one, escaped or not', async () => {
    const twice = await startService();
    const body =
      '[{"accessid":"x","access\\u0069d":"last","created_at":1,"cre\\u0061ted_at":2,"payload":1,"pa\\u0079load":"p"}]';
    assert.equal((await twice.post('/push_events', body)).status, 200);
    const { events } = await twice.page('last');
    assert.deepEqual(
      events.map((event) => [event.created_at, event.payload]),
      [[2, 'p']],
    );
    assert.deepEqual((await twice.page('x')).events, []);
    await twice.stop();
  });
});
