/** The users socket's codec by its bytes: both dialects, and what is no message. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LastseenError } from '../../../src/errors.ts';
import {
  decode,
  echoFrame,
  errorFrame,
  type EventName,
  metaFrame,
  pushFrame,
  resumeFrame,
} from '../../../src/gateways/users-socket/codec.ts';

/** Payload of a short or a 16-bit frame, after its header was looked at. */
function textIn(frame: Buffer): string {
  assert.equal(frame[0], 0x81, 'a whole text frame');
  const length = frame[1] ?? 0;
  const start = length === 126 ? 4 : 2;
  assert.equal(length === 126 ? frame.readUInt16BE(2) : length, frame.length - start);
  return frame.toString('utf8', start);
}

const FILE = '{"_id":"1","size":9007199254740993}';
const BUCKET = '{"name":"b"}';

describe('frames of the users socket', () => {
  it('an echo is these bytes', () => {
    assert.equal(
      echoFrame('numeric', '"hi"').toString('hex'),
      `811f${Buffer.from('{"eventType":10,"message":"hi"}').toString('hex')}`,
    );
    assert.equal(textIn(echoFrame('named', '[1.0]')), '{"type":"Echo","message":[1.0]}');
  });

  it('each event stands in both dialects with the members of the original', () => {
    const cases: [EventName, string | undefined, string, string][] = [
      ['Login', undefined, '{"eventType":1,"username":"ada"}', '{"type":"Login","username":"ada"}'],
      ['Logout', undefined, '{"eventType":2,"username":"ada"}', '{"type":"Logout","username":"ada"}'],
      ['Activated', undefined, '{"eventType":3,"username":"ada"}', '{"type":"Activated","username":"ada"}'],
      ['Removed', undefined, '{"eventType":4,"username":"ada"}', '{"type":"Removed","username":"ada"}'],
      [
        'FileUploaded',
        FILE,
        `{"eventType":5,"username":"ada","file":${FILE}}`,
        `{"type":"FileUploaded","username":"ada","file":${FILE}}`,
      ],
      [
        'FileRemoved',
        FILE,
        `{"eventType":6,"file":${FILE}}`,
        `{"type":"FileRemoved","username":"ada","file":${FILE}}`,
      ],
      [
        'BucketUploaded',
        BUCKET,
        `{"eventType":7,"username":"ada","bucket":${BUCKET}}`,
        `{"type":"BucketUploaded","username":"ada","bucket":${BUCKET}}`,
      ],
      [
        'BucketRemoved',
        BUCKET,
        `{"eventType":8,"bucket":${BUCKET}}`,
        `{"type":"BucketRemoved","username":"ada","bucket":${BUCKET}}`,
      ],
    ];
    for (const [name, subject, numeric, named] of cases) {
      const push = { name, username: 'ada', subject, cursor: undefined };
      assert.equal(textIn(pushFrame('numeric', push)), numeric);
      assert.equal(textIn(pushFrame('named', push)), named);
    }
    const told = pushFrame('named', { name: 'Login', username: 'a"b', subject: undefined, cursor: 'c.1' });
    assert.equal(textIn(told), '{"type":"Login","username":"a\\"b","cursor":"c.1"}');
  });

  it('meta replies, errors and places are these texts', () => {
    const reply = { value: '0', property: 'a.$b', username: 'ada' };
    assert.equal(textIn(metaFrame('numeric', reply)), '{"eventType":9,"val":0}');
    assert.equal(
      textIn(metaFrame('named', reply)),
      '{"type":"MetaRequest","val":0,"property":"a.$b","username":"ada"}',
    );
    const missing = { value: undefined, property: undefined, username: 'ada' };
    assert.equal(textIn(metaFrame('numeric', missing)), '{"eventType":9}');
    assert.equal(textIn(metaFrame('named', missing)), '{"type":"MetaRequest","username":"ada"}');
    const error = new LastseenError('ERR_CURSOR_TOO_OLD', 'gone', { floor: 'e.1' });
    assert.equal(textIn(errorFrame('numeric', 'MetaRequest', error)), '{"eventType":9,"error":"gone"}');
    assert.equal(textIn(errorFrame('named', 'MetaRequest', error)), '{"type":"MetaRequest","error":"gone"}');
    assert.equal(
      textIn(errorFrame('numeric', undefined, error)),
      '{"eventType":0,"error":"gone","code":"ERR_CURSOR_TOO_OLD","floor":"e.1"}',
    );
    assert.equal(
      textIn(errorFrame('named', 'Echo', error)),
      '{"type":"Echo","error":"gone","code":"ERR_CURSOR_TOO_OLD","floor":"e.1"}',
    );
    assert.equal(textIn(resumeFrame('live', { cursor: 'e.1' })), '{"type":"live","cursor":"e.1"}');
  });
});

describe('messages of the users socket', () => {
  it('the four forms of a meta request are told apart, falsy values are values, text is kept', () => {
    const meta = (rest: string): unknown => {
      const request = decode(`{"eventType":9,"username":"ada"${rest}}`).request();
      assert.equal(request.type, 'meta');
      return 'operation' in request ? request.operation : undefined;
    };
    assert.deepEqual(meta(''), { type: 'get', property: undefined });
    assert.deepEqual(meta(',"property":"a.b"'), { type: 'get', property: 'a.b' });
    for (const value of ['0', '""', 'false', 'null', '1.0', '9007199254740993', '{"b":[1,2]}']) {
      assert.deepEqual(meta(`,"property":"$x","val": ${value}`), {
        type: 'set',
        entry: { property: '$x', value },
      });
    }
    assert.deepEqual(meta(',"val":{"__proto__": 1.0, "a.b":{"c": 0},"a.b":false}'), {
      type: 'replace',
      entries: [
        { property: '__proto__', value: '1.0' },
        { property: 'a.b', value: 'false' },
      ],
      text: '{"__proto__":1.0,"a.b":false}',
    });
  });

  it('what is no message names the field and its fault, and no bytes throw anything else', () => {
    const nested = '['.repeat(600) + ']'.repeat(600);
    const cases: [string | undefined, RegExp][] = [
      [undefined, /^the message must be a JSON object, got bytes that are not UTF-8$/],
      ['', /^the message must be a JSON object/],
      ['nope', /got "nope"$/],
      ['null', /must be a JSON object/],
      ['[]', /must be a JSON object/],
      ['{}', /must have `eventType` or `type`/],
      ['{"eventType":0}', /^`eventType` must be 9 \(meta\) or 10 \(echo\), got 0$/],
      ['{"eventType":"10"}', /got "10"$/],
      ['{"eventType":1e400}', /got Infinity$/],
      ['{"eventType":1.5}', /got 1\.5$/],
      ['{"eventType":1,"username":"a"}', /^`eventType` must be 9/],
      ['{"type":"Login"}', /^`type` must be "MetaRequest", "Echo" or "resume", got "Login"$/],
      ['{"type":{"a":1}}', /got an object$/],
      ['{"type":"__proto__"}', /got "__proto__"$/],
      ['{"eventType":10}', /^`message` is required/],
      ['{"eventType":10,"message":1,"broadcast":"yes"}', /^`broadcast` must be true or false, got "yes"$/],
      ['{"eventType":9,"username":7}', /^Please enter a valid username$/],
      ['{"eventType":9,"username":""}', /^Please enter a valid username$/],
      ['{"eventType":9,"username":"a\\u0000"}', /^Please enter a valid username$/],
      ['{"eventType":9,"username":"a","property":7}', /^`property` must be a string, got 7$/],
      ['{"eventType":9,"username":"a","property":"\\ud800"}', /^`property` must be well-formed/],
      [
        '{"eventType":9,"username":"a","val":0}',
        /^`val` must be an object in a request without `property`, got 0$/,
      ],
      [
        '{"eventType":9,"username":"a","val":{"":1}}',
        /^`val` contains an invalid property name: it must not be empty$/,
      ],
      [`{"eventType":9,"username":"a","property":"p","val":${nested}}`, /^`val` must not nest deeper/],
      ['{"type":"resume"}', /^`after` must be a cursor, "start" or "now", got nothing$/],
    ];
    for (const [text, fault] of cases) {
      assert.throws(
        () => decode(text).request(),
        (error: unknown) =>
          error instanceof LastseenError && error.code === 'ERR_REQUEST_INVALID' && fault.test(error.message),
        text,
      );
    }
  });
});
