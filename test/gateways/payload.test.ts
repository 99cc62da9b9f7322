/** G9: a payload comes out of every wire as the JSON text that went in, insignificant white space aside. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Service, startService } from '../support/service.ts';
import { logOf, openEventStream } from '../support/wire.ts';

/** What was sent, and what must come out where the two differ. */
const TEXTS: readonly (readonly [what: string, sent: string, expected?: string])[] = [
  ['an integer beyond 2^53', '9007199254740993'],
  ['a long integer', '-123456789012345678901234567890'],
  ['a decimal that ends in zero', '1.0'],
  ['many digits', '0.10000000000000000000000000000000000001'],
  ['a number beyond double', '1e400'],
  ['a number below double', '1E-400'],
  ['exponents as written', '[1e2,1E2,1e+2,1E-02]'],
  ['minus zero', '-0'],
  ['duplicate keys', '{"a":1,"a":2,"b":{"c":1,"c":1.0}}'],
  ['keys that are equal when unescaped', '{"a":1,"\\u0061":2}'],
  ['key order', '{"z":1,"a":2,"10":3,"9":4,"":5}'],
  ['__proto__ and its kin', '{"__proto__":{"x":1},"constructor":null,"toString":[]}'],
  ['escapes as written', '"\\u00e9 é \\/ / \\" \\\\ \\b\\f\\n\\r\\t \\u002F \\u002f"'],
  ['escaped U+0000', '"a\\u0000b"'],
  ['escaped U+0000 in a key', '{"\\u0000":"\\u0000"}'],
  ['a lone surrogate, escaped', '["\\ud800","\\udc00x"]'],
  ['a pair, escaped and plain', '"\\ud83d\\ude00 😀"'],
  ['line separators of JavaScript', '"\u2028\u2029\u0085\u007f"'],
  ['a BOM inside a string', '"\ufeff"'],
  ['white space inside strings', '" two  spaces  "'],
  ['what looks like white space between tokens', '"{ \\"a\\" : 1 , [ ] }"'],
  ['back-slashes before a quote', '["\\\\","\\\\\\"","\\\\\\\\"]'],
  ['brackets inside strings', '{"]}":"[{","\\"":"}]"}'],
  ['the empty string', '""'],
  ['the empty object', '{}'],
  ['the empty array', '[]'],
  ['null', 'null'],
  ['false', 'false'],
  ['true', 'true'],
  ['zero', '0'],
  [
    'the fields of an event',
    '{"payload":{"payload":"x","accessid":"y"},"created_at":9,"id":"z","accessid":"y"}',
  ],
  ['what looks like a frame', '{"type":"events","events":[{"cursor":"x"}]}'],
  ['what looks like a record', '"\\n\\ndata: x\\nid: 9\\n\\n"'],
  ['512 levels', '['.repeat(512) + ']'.repeat(512)],
  ['white space between tokens', ' {\t"a b" :\r\n[ 1.0 , "x  y" ,\n{ } ] } ', '{"a b":[1.0,"x  y",{}]}'],
];

describe('G9: payloads keep their text', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  const expected = TEXTS.map(([, sent, out]) => out ?? sent);

  /** The payloads of a wire's text, each from its key to the end of its event. */
  async function onEveryWire(accessId: string): Promise<Map<string, string[]>> {
    const count = TEXTS.length;
    const page = await (await service.fetch(`/events?access_id=${accessId}`)).text();
    const body = page.slice(page.indexOf('[') + 1, page.lastIndexOf('],"cursor"'));
    const exact = await service.connect();
    exact.send({ access_id: accessId, after: 'start' });
    await exact.events(count);
    const frames = exact.frames.filter((frame) => frame.startsWith('{"type":"events"'));
    const exactBody = frames.map((frame) => frame.slice(frame.indexOf('[') + 1, -2)).join(',');
    const legacy = await service.connect();
    legacy.send({ access_id: accessId, timestamp: 0 });
    await legacy.frame(
      () => legacy.frames.flatMap((frame) => JSON.parse(frame) as unknown[]).length >= count,
    );
    const legacyBody = legacy.frames.map((frame) => frame.slice(1, -1)).join(',');
    const stream = await openEventStream(service, `/events?access_id=${accessId}`);
    const text = await stream.until((all) => all.split('\n\n').length >= count + 2);
    const data = text.split('\n').filter((line) => line.startsWith('data: '));
    await Promise.all([exact.close(), legacy.close(), stream.close()]);
    return new Map([
      ['GET', payloadsOf(body, '{"cursor":"')],
      ['WebSocket, exact', payloadsOf(exactBody, '{"cursor":"')],
      ['WebSocket, original', payloadsOf(legacyBody, '{"accessid":"')],
      ['SSE', data.map((line) => payloadsOf(line.slice('data: '.length), '{"cursor":"').join())],
    ]);
  }

  /** Cuts a list of events where one begins; the payload is the last member of each. */
  function payloadsOf(list: string, opening: string): string[] {
    return list.split(new RegExp(`(?:^|,)(?=\\${opening})`)).flatMap((event) => {
      const at = event.indexOf('"payload":');
      return at === -1 ? [] : [event.slice(at + '"payload":'.length, -1)];
    });
  }

  function same(wires: Map<string, string[]>): void {
    for (const [wire, payloads] of wires) {
      TEXTS.forEach(([what], at) => {
        assert.equal(payloads[at], expected[at], `${wire}: ${what}`);
      });
      assert.equal(payloads.length, TEXTS.length, wire);
    }
  }

  it('each pushed alone, on GET, both forms of WebSocket and SSE', async () => {
    for (const [what, sent] of TEXTS) {
      const body = `[{"accessid":"alone","created_at":1,"payload":${sent}}]`;
      assert.equal((await service.post('/push_events', body)).status, 200, what);
    }
    same(await onEveryWire('alone'));
  });

  it('all in one pretty-printed batch, before, between and after the other fields', async () => {
    const orders = [
      (sent: string) => `{\n  "payload" : ${sent} ,\n  "accessid" : "batch" ,\n  "created_at" : 1\n}`,
      (sent: string) => `{\r\n\t"accessid": "batch",\r\n\t"payload":\r\n${sent},\r\n\t"created_at": 1 }`,
      (sent: string) =>
        `{ "created_at": 1, "access_id": "batch", "x": [{"payload": 0}], "pay\\u006coad": ${sent} }`,
    ];
    const events = TEXTS.map(([, sent], at) => orders[at % orders.length]?.(sent) ?? '');
    const response = await service.post('/push_events', `\n[\n${events.join(' ,\n')}\n]\n`);
    assert.equal(response.status, 200, await response.text());
    same(await onEveryWire('batch'));
  });

  it('live, to sockets and streams that were there before', async () => {
    const exact = await service.connect();
    exact.send({ access_id: 'live', after: 'now' });
    await exact.typed('live');
    const stream = await openEventStream(service, '/events?access_id=live&after=now');
    for (const [, sent, out] of TEXTS) {
      const payload = `"payload":${out ?? sent}}`;
      const body = `[{"accessid":"live","created_at":1,"payload":${sent}}]`;
      assert.equal((await service.post('/push_events', body)).status, 200);
      await exact.frame((frame) => frame.endsWith(`${payload}]}`));
      await stream.until((text) => text.endsWith(`${payload}\n\n`));
    }
    await Promise.all([exact.close(), stream.close()]);
  });

  it('on disk, where analysts read it', () => {
    for (const accessId of ['alone', 'batch', 'live']) {
      assert.deepEqual(
        logOf(service)
          .filter((row) => row.access_id === accessId)
          .map((row) => row.payload),
        expected,
      );
    }
  });

  it('a CloudEvent is kept whole as it was written', async () => {
    const cloud =
      '{ "specversion" : "1.0", "id":"1", "source":"/s", "type":"t", "subject":"cloud", "data" : { "n":1.0, "n":9007199254740993 }, "x":"  " }';
    const headers = { 'Content-Type': 'application/cloudevents-batch+json' };
    assert.equal((await service.post('/push_events', `[ ${cloud} ]`, headers)).status, 200);
    const page = await (await service.fetch('/events?access_id=cloud')).text();
    const kept =
      '{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"cloud","data":{"n":1.0,"n":9007199254740993},"x":"  "}';
    assert.ok(page.includes(`"payload":${kept}}]`), page);
  });
});
