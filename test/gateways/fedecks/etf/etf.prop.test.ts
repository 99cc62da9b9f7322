/** The term format as properties: what is sent comes back, and no bytes do more than be refused. */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { it } from 'node:test';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { decode } from '../../../../src/gateways/fedecks/etf/decode.ts';
import { encode } from '../../../../src/gateways/fedecks/etf/encode.ts';
import { fromJson, toJson } from '../../../../src/gateways/fedecks/etf/json.ts';
import { floatTerm, integerTerm, type Term, tuple } from '../../../../src/gateways/fedecks/etf/term.ts';

const scalar: fc.Arbitrary<Term> = fc.oneof(
  fc.constantFrom<Term[]>(null, true, false),
  fc.nat({ max: 300 }),
  fc.maxSafeInteger().map((value) => value + 0),
  fc.bigInt({ min: -(2n ** 3000n), max: 2n ** 3000n }).map(integerTerm),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(integerTerm),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(floatTerm),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.uint8Array({ minLength: 1, maxLength: 20 }).filter((bytes) => !isUtf8(bytes)),
);

/** Keys once each, as Erlang sees them. */
function uniqueKeys(entries: readonly (readonly [Term, Term])[]): Map<Term, Term> {
  return new Map(new Map(entries.map((entry) => [encode(entry[0]).toString('hex'), entry])).values());
}

function terms(withTuples: boolean): fc.Arbitrary<Term> {
  const list = (item: fc.Arbitrary<Term>): fc.Arbitrary<Term> =>
    fc.oneof(
      fc.array(item, { maxLength: 6 }),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => [...bytes]),
      ...(withTuples ? [fc.array(item, { maxLength: 6 }).map((items) => tuple(...items))] : []),
    );
  const key = fc.oneof({ weight: 3, arbitrary: fc.string({ maxLength: 5 }) }, scalar, list(scalar));
  return fc.letrec<{ term: Term }>((tie) => ({
    term: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      scalar,
      list(tie('term')),
      fc.array(fc.tuple(key, tie('term')), { maxLength: 6 }).map(uniqueKeys),
    ),
  })).term;
}

function termOf(bytes: Uint8Array): Term {
  const decoded = decode(bytes);
  assert.ok(decoded.ok, decoded.ok ? '' : decoded.detail);
  return decoded.term;
}

/** Bytes are refused, or are a term that can be sent back and shown. */
function refusedOrWhole(bytes: Uint8Array): void {
  const decoded = decode(bytes);
  if (!decoded.ok) {
    assert.match(decoded.reason, /^(malformed|unsafe|unsupported|too_large)$/);
    return;
  }
  assert.deepStrictEqual(termOf(encode(decoded.term)), decoded.term);
  JSON.parse(toJson(decoded.term));
}

it('every term comes back from its bytes, also compressed, also with bytes behind it', () => {
  fc.assert(
    fc.property(terms(true), fc.uint8Array({ maxLength: 4 }), (term, behind) => {
      const bytes = encode(term);
      assert.deepStrictEqual(termOf(bytes), term);
      assert.deepStrictEqual(termOf(Buffer.concat([bytes, behind])), term);
      const inner = bytes.subarray(1);
      const head = Buffer.from([131, 80, 0, 0, 0, 0]);
      head.writeUInt32BE(inner.length, 2);
      assert.deepStrictEqual(termOf(Buffer.concat([head, deflateSync(inner), behind])), term);
    }),
    { numRuns: 500 },
  );
});

it('every term without tuples comes back from its JSON text', () => {
  fc.assert(
    fc.property(terms(false), (term) => {
      assert.deepStrictEqual(fromJson(toJson(term)), term);
    }),
    { numRuns: 500 },
  );
});

it('every JSON value becomes the term of the same value', () => {
  // An integer has no negative zero.
  const parse = (text: string): unknown =>
    JSON.parse(text, (_name, value: unknown) => (value === 0 ? 0 : value));
  fc.assert(
    fc.property(fc.json(), (text) => {
      assert.deepStrictEqual(parse(toJson(termOf(encode(fromJson(text))))), parse(text));
    }),
    { numRuns: 500 },
  );
});

it('a term cut short anywhere is refused', () => {
  fc.assert(
    fc.property(terms(true), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (term, part) => {
      const bytes = encode(term);
      assert.equal(decode(bytes.subarray(0, Math.floor(part * bytes.length))).ok, false);
    }),
    { numRuns: 500 },
  );
});

it('a term with a few bytes changed is refused or another term, and nothing else', () => {
  const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }));
  fc.assert(
    fc.property(terms(true), fc.array(change, { minLength: 1, maxLength: 4 }), (term, changes) => {
      const bytes = encode(term);
      for (const [at, value] of changes) {
        bytes[at % bytes.length] = value;
      }
      refusedOrWhole(bytes);
    }),
    { numRuns: 2_000 },
  );
});

it('any bytes are refused or a term, and nothing else', () => {
  const TAGS = [70, 77, 80, 97, 98, 99, 100, 104, 105, 106, 107, 108, 109, 110, 111, 115, 116, 118, 119];
  const byte = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...TAGS) },
    { weight: 3, arbitrary: fc.nat({ max: 3 }) },
    fc.nat({ max: 255 }),
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 60 }), (rest) => {
      refusedOrWhole(Uint8Array.from([131, ...rest]));
    }),
    { numRuns: 5_000 },
  );
});
