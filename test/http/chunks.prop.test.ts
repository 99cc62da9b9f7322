/** Chunks of a body come out as the bytes that went in, whatever their sizes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { collectChunks } from '../../src/http/chunks.ts';

describe('the chunks of a body', () => {
  it('are joined in order, whole', () => {
    const sizes = fc.array(fc.oneof(fc.nat(3), fc.nat(200), fc.integer({ min: 16_000, max: 40_000 })), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(sizes, (lengths) => {
        const chunks = lengths.map((length, index) => Buffer.alloc(length, index));
        const collected = collectChunks();
        for (const chunk of chunks) {
          collected.add(chunk);
        }
        assert.ok(collected.join().equals(Buffer.concat(chunks)));
      }),
    );
  });
});
