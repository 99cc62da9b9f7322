/** Frames of Phoenix channels, byte for byte. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { serializerOf, V1, V2 } from '../../../src/gateways/phoenix/codec.ts';

/** What stands in an unmasked frame. */
const inside = (frame: Buffer | undefined): Buffer => {
  assert.ok(frame !== undefined);
  const length = frame[1] ?? 0;
  return frame.subarray(length < 126 ? 2 : length === 126 ? 4 : 10);
};
const text = (frame: Buffer | undefined): string => inside(frame).toString();
const ascii = (value: string): Buffer => Buffer.from(value, 'latin1');

describe('frames of Phoenix channels', () => {
  const message = { joinRef: '12', ref: '123', topic: 'topic' };
  const bytes = { bytes: ascii('efg') };

  it('vsn 2: arrays of five', () => {
    assert.deepEqual(V2.decodeText('["6", "11","notifications","echo",{ "a":1.0 },"more"]'), {
      joinRef: '6',
      ref: '11',
      topic: 'notifications',
      event: 'echo',
      payload: { json: '{ "a":1.0 }' },
    });
    assert.equal(
      text(V2.reply(message, 'ok', { json: '{"a":9007199254740993}' })),
      '["12","123","topic","phx_reply",{"status":"ok","response":{"a":9007199254740993}}]',
    );
    assert.equal(
      text(V2.push({ joinRef: '12', topic: 'topic' }, 'msg', { json: '{}' })),
      '["12",null,"topic","msg",{}]',
    );
    assert.equal(text(V2.broadcast('topic', 'evt', { json: '{}' })), '[null,null,"topic","evt",{}]');
    assert.equal(
      text(V2.close({ joinRef: '12', topic: 'topic' }, 'phx_close', '{}')),
      '["12","12","topic","phx_close",{}]',
    );
  });

  it('vsn 2: the three kinds of binary frames a server sends, and the one it gets', () => {
    assert.deepEqual(V2.decodeBinary(ascii('\x00\x02\x03\x05\x0512123topiceventefg')), {
      joinRef: '12',
      ref: '123',
      topic: 'topic',
      event: 'event',
      payload: { bytes: ascii('efg') },
    });
    assert.deepEqual(
      inside(V2.push({ joinRef: '12', topic: 'topic' }, 'event', bytes)),
      ascii('\x00\x02\x05\x0512topiceventefg'),
    );
    assert.deepEqual(inside(V2.reply(message, 'ok', bytes)), ascii('\x01\x02\x03\x05\x0212123topicokefg'));
    assert.deepEqual(inside(V2.broadcast('topic', 'event', bytes)), ascii('\x02\x05\x05topiceventefg'));
    assert.throws(
      () => V2.push({ joinRef: '12', topic: 'x'.repeat(256) }, 'event', bytes),
      /at most 255 bytes, got 256/,
    );
    assert.doesNotThrow(() => V2.push({ joinRef: '12', topic: 'x'.repeat(255) }, 'event', bytes));
  });

  it('vsn 1: objects, without join_ref on the way out and without bytes', () => {
    const decoded = { joinRef: null, ref: '3', topic: 't', event: 'e', payload: { json: '{"payload":1}' } };
    assert.deepEqual(V1.decodeText('{"topic":"t","event":"e","payload":{"payload":1},"ref":"3"}'), decoded);
    assert.deepEqual(
      V1.decodeText(' {"topic":"t","event":"e","payload":{"payload":1},"ref":"3","join_ref":"2"}'),
      { ...decoded, joinRef: '2' },
    );
    assert.equal(
      text(V1.reply(message, 'error', { json: '{}' })),
      '{"topic":"topic","event":"phx_reply","payload":{"status":"error","response":{}},"ref":"123"}',
    );
    assert.equal(
      text(V1.push({ joinRef: '12', topic: 'topic' }, 'msg', { json: '{"a":1}' })),
      '{"topic":"topic","event":"msg","payload":{"a":1},"ref":null}',
    );
    assert.equal(
      text(V1.close({ joinRef: '12', topic: 'topic' }, 'phx_close', '{}')),
      '{"topic":"topic","event":"phx_close","payload":{},"ref":"12"}',
    );
    assert.equal(V1.broadcast('topic', 'evt', bytes), undefined);
    assert.equal(V1.decodeBinary(ascii('\x00\x02\x03\x05\x0512123topiceventefg')), undefined);
  });

  it('what is no message is none, and a payload that is no object is none', () => {
    for (const bad of [
      '',
      'x',
      '{}',
      '[]',
      '["1","1","t","e"]',
      '[1,"1","t","e",{}]',
      '["1","1",2,"e",{}]',
      'null',
    ]) {
      assert.equal(V2.decodeText(bad), undefined, bad);
    }
    for (const bad of [
      '',
      '[]',
      '{}',
      'null',
      '{"topic":"t","event":"e","payload":{}}',
      '{"topic":"t","event":"e","ref":"1"}',
    ]) {
      assert.equal(V1.decodeText(bad), undefined, bad);
    }
    for (const payload of ['"text"', '1', 'null', '[]', 'true']) {
      assert.equal(V2.decodeText(`[null,"1","t","e",${payload}]`)?.payload, undefined);
      assert.equal(
        V1.decodeText(`{"topic":"t","event":"e","payload":${payload},"ref":null}`)?.payload,
        undefined,
      );
    }
    for (const bad of [
      [],
      [0],
      [0, 0, 0, 0],
      [1, 0, 0, 0, 0],
      [0, 255, 0, 0, 0],
      [0, 1, 1, 1, 1, 65, 66, 67],
    ]) {
      assert.equal(V2.decodeBinary(Uint8Array.from(bad)), undefined);
    }
  });

  it('G7: refs, events and topics are short: they are repeated in every answer', () => {
    const long = 'x'.repeat(256);
    for (const frame of [
      [long, '1', 't', 'e', {}],
      ['1', long, 't', 'e', {}],
      ['1', '1', 't', long, {}],
      ['1', '1', 'x'.repeat(601), 'e', {}],
    ]) {
      const [joinRef, ref, topic, event, payload] = frame;
      assert.equal(V2.decodeText(JSON.stringify(frame)), undefined);
      assert.equal(
        V1.decodeText(JSON.stringify({ topic, event, payload, ref, join_ref: joinRef })),
        undefined,
      );
    }
  });

  it('a ref is measured in bytes, as a binary answer counts it: one that is taken can always be answered', () => {
    const frameOf = (ref: string): string => JSON.stringify([ref, ref, 't', 'e', {}]);
    assert.equal(V2.decodeText(frameOf('é'.repeat(128))), undefined, '256 bytes in 128 characters');
    const longest = `${'é'.repeat(127)}x`;
    const message = V2.decodeText(frameOf(longest));
    assert.ok(message !== undefined);
    assert.doesNotThrow(() => V2.reply(message, 'ok', { bytes: Buffer.from('x') }));
    assert.doesNotThrow(() =>
      V2.push({ joinRef: longest, topic: 't' }, longest, { bytes: Buffer.from('x') }),
    );
  });

  it('any bytes are a message or none, and never an error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (data) => {
        V2.decodeBinary(data);
        for (const serializer of [V1, V2]) {
          serializer.decodeText(Buffer.from(data).toString());
        }
      }),
    );
  });

  it('the versions that are spoken', () => {
    assert.equal(serializerOf(null), V1);
    assert.equal(serializerOf('1.0.0'), V1);
    assert.equal(serializerOf('2.0.0'), V2);
    for (const other of ['', '3.0.0', '2', '2.1.0', '123.1.1', '2.0.x']) {
      assert.equal(serializerOf(other), undefined);
    }
  });
});
