/** Erlang's External Term Format: golden bytes both ways, hostile bytes of every tag, and JSON. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deflateSync } from 'node:zlib';
import { decode, type DecodeLimits } from '../../../../src/gateways/fedecks/etf/decode.ts';
import { encode } from '../../../../src/gateways/fedecks/etf/encode.ts';
import { fromJson, toJson } from '../../../../src/gateways/fedecks/etf/json.ts';
import {
  charlist,
  EtfError,
  type EtfReason,
  float,
  isCharlist,
  MAX_DEPTH,
  type Term,
  tuple,
} from '../../../../src/gateways/fedecks/etf/term.ts';

const bytesOf = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

function termOf(bytes: Uint8Array, limits?: DecodeLimits): Term {
  const decoded = decode(bytes, limits);
  assert.ok(decoded.ok, `refused: ${decoded.ok ? '' : decoded.detail}`);
  return decoded.term;
}

function reasonOf(bytes: Uint8Array, limits?: DecodeLimits): EtfReason {
  const decoded = decode(bytes, limits);
  assert.ok(!decoded.ok, 'should have been refused');
  assert.match(decoded.detail, /./);
  return decoded.reason;
}

const refused = (reason: EtfReason) => (error: unknown) =>
  error instanceof EtfError && error.reason === reason;

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** The compressed form of what stands after byte 131. */
function compressed(inner: Uint8Array, claimed = inner.length): Buffer {
  return Buffer.concat([bytesOf('83 50'), uint32(claimed), deflateSync(inner)]);
}

/** Both ways: these bytes are this term, and this term is these bytes. */
const GOLDEN: readonly (readonly [name: string, term: Term, hex: string])[] = [
  ['text', 'hello matey', '83 6d 0000000b 68656c6c6f206d61746579'],
  ['empty text', '', '83 6d 00000000'],
  ['text that begins with a byte order mark', '\uFEFFa', '83 6d 00000004 efbbbf61'],
  ['text beyond the first plane', '😀', '83 6d 00000004 f09f9880'],
  ['bytes that are no text', Uint8Array.of(0xff, 0), '83 6d 00000002 ff00'],
  ['0', 0, '83 61 00'],
  ['255', 255, '83 61 ff'],
  ['256', 256, '83 62 00000100'],
  ['-1', -1, '83 62 ffffffff'],
  ['2^31 - 1', 2147483647, '83 62 7fffffff'],
  ['-2^31', -2147483648, '83 62 80000000'],
  ['2^31', 2147483648, '83 6e 04 00 00000080'],
  ['-2^31 - 1', -2147483649, '83 6e 04 01 01000080'],
  ['milliseconds of now', 1700000000000, '83 6e 06 00 0068e5cf8b01'],
  ['2^53 - 1', Number.MAX_SAFE_INTEGER, '83 6e 07 00 ffffffffffff1f'],
  ['2^53', 2n ** 53n, '83 6e 07 00 00000000000020'],
  ['-(2^53 + 1)', -(2n ** 53n) - 1n, '83 6e 07 01 01000000000020'],
  ['256^255 - 1', 256n ** 255n - 1n, `83 6e ff 00 ${'ff'.repeat(255)}`],
  ['-256^255', -(256n ** 255n), `83 6f 00000100 01 ${'00'.repeat(255)}01`],
  ['1.5', 1.5, '83 46 3ff8000000000000'],
  ['1.0', float(1), '83 46 3ff0000000000000'],
  ['-0.0', float(-0), '83 46 8000000000000000'],
  ['1.0e300', float(1e300), '83 46 7e37e43c8800759c'],
  ['true', true, '83 77 04 74727565'],
  ['false', false, '83 77 05 66616c7365'],
  ['nil', null, '83 77 03 6e696c'],
  ['[]', [], '83 6a'],
  ['[1, 2, 3]', [1, 2, 3], '83 6b 0003 010203'],
  ['[1, 300]', [1, 300], '83 6c 00000002 6101 62 0000012c 6a'],
  ['[[]]', [[]], '83 6c 00000001 6a 6a'],
  ['the longest charlist', Array<Term>(65_535).fill(7), `83 6b ffff ${'07'.repeat(65_535)}`],
  ['a longer list of bytes', Array<Term>(65_536).fill(7), `83 6c 00010000 ${'6107'.repeat(65_536)} 6a`],
  ['%{}', new Map(), '83 74 00000000'],
  ['%{"a" => 1}', new Map([['a', 1]]), '83 74 00000001 6d 00000001 61 6101'],
  [
    'a map whose keys are no text',
    new Map<Term, Term>([
      [1, 'integer'],
      [null, 2],
    ]),
    '83 74 00000002 6101 6d 00000007 696e7465676572 77 03 6e696c 6102',
  ],
  ['{}', tuple(), '83 68 00'],
  ['{"hello", "matey"}', tuple('hello', 'matey'), '83 68 02 6d 00000005 68656c6c6f 6d 00000005 6d61746579'],
  ['a tuple of 256', tuple(...Array<Term>(256).fill([])), `83 69 00000100 ${'6a'.repeat(256)}`],
  ['token_please', charlist('token_please'), '83 6b 000c 746f6b656e5f706c65617365'],
  ['a token', tuple(charlist('token'), 'XCP.abc'), '83 68 02 6b 0005 746f6b656e 6d 00000007 5843502e616263'],
  [
    'the inside of a token',
    tuple('nerves-543x', 1700000000000, 2419200),
    '83 68 03 6d 0000000b 6e65727665732d35343378 6e 06 00 0068e5cf8b01 62 0024ea00',
  ],
  [
    'a login',
    new Map([
      ['fedecks-device-id', 'nerves-543x'],
      ['password', 'paranoid-android'],
      ['username', 'marvin'],
    ]),
    Buffer.from(
      'g3QAAAADbQAAABFmZWRlY2tzLWRldmljZS1pZG0AAAALbmVydmVzLTU0M3htAAAACHBhc3N3b3JkbQAAABBwYXJhbm9pZC1hbmRyb2lkbQAAAAh1c2VybmFtZW0AAAAGbWFydmlu',
      'base64',
    ).toString('hex'),
  ],
  [
    'a reconnection',
    new Map([
      ['fedecks-device-id', 'nerves-987x'],
      ['fedecks-token', 'hi'],
    ]),
    Buffer.from(
      'g3QAAAACbQAAABFmZWRlY2tzLWRldmljZS1pZG0AAAALbmVydmVzLTk4N3htAAAADWZlZGVja3MtdG9rZW5tAAAAAmhp',
      'base64',
    ).toString('hex'),
  ],
];

const oldFloat = (text: string): Buffer =>
  Buffer.concat([bytesOf('83 63'), Buffer.from(text.padEnd(31, '\0'))]);

/** Other bytes of a term than those that are sent: of older nodes, of other writers, compressed. */
const ALSO: readonly (readonly [name: string, term: Term, bytes: Buffer])[] = [
  ['true of an older node', true, bytesOf('83 64 0004 74727565')],
  ['false as a short atom in Latin 1', false, bytesOf('83 73 05 66616c7365')],
  ['nil as a long atom', null, bytesOf('83 76 0003 6e696c')],
  ['a small integer in four bytes', 1, bytesOf('83 62 00000001')],
  ['a small integer as a large one', -5, bytesOf('83 6e 03 01 050000')],
  ['a sign that is neither 0 nor 1', -5, bytesOf('83 6e 01 02 05')],
  ['zero without digits', 0, bytesOf('83 6e 00 01')],
  ['a small integer with a long length', 5, bytesOf('83 6f 00000001 00 05')],
  ['a float as text', 1.5, oldFloat('1.50000000000000000000e+00')],
  ['a whole float as text', float(-2), oldFloat('-2.00000000000000000000e+00')],
  ['a small tuple with a long arity', tuple([]), bytesOf('83 69 00000001 6a')],
  ['an empty list with a length', [], bytesOf('83 6c 00000000 6a')],
  ['an empty charlist', [], bytesOf('83 6b 0000')],
  ['a list of bytes, each with a tag', [104, 105], bytesOf('83 6c 00000002 6168 6169 6a')],
  ['a list whose tail is a charlist', [1, 2, 3], bytesOf('83 6c 00000001 6101 6b 0002 0203')],
  ['a list whose tail is a list', [1, 2], bytesOf('83 6c 00000001 6101 6c 00000001 6102 6a')],
  ['whole bytes counted in bits', 'hi', bytesOf('83 4d 00000002 08 6869')],
  ['no bits', '', bytesOf('83 4d 00000000 00')],
  ['a compressed term', 'a'.repeat(100), compressed(bytesOf(`6d 00000064 ${'61'.repeat(100)}`))],
  ['bytes after the term', 1, bytesOf('83 61 01 ff00')],
  ['bytes after a compressed term', 1, Buffer.concat([compressed(bytesOf('6101 6102')), bytesOf('ff00')])],
];

describe('terms and bytes', () => {
  for (const [name, term, hex] of GOLDEN) {
    it(`${name}: the bytes are the term, and the term is the bytes`, () => {
      assert.deepStrictEqual(termOf(bytesOf(hex)), term);
      assert.equal(encode(term).toString('hex'), hex.replaceAll(' ', ''));
    });
  }

  for (const [name, term, bytes] of ALSO) {
    it(`${name} is understood`, () => {
      assert.deepStrictEqual(termOf(bytes), term);
    });
  }

  it('a charlist is told from a binary of the same text', () => {
    assert.ok(isCharlist(termOf(bytesOf('83 6b 000c 746f6b656e5f706c65617365')), 'token_please'));
    assert.ok(!isCharlist(termOf(bytesOf('83 6d 0000000c 746f6b656e5f706c65617365')), 'token_please'));
    assert.ok(!isCharlist(termOf(bytesOf('83 6b 000d 746f6b656e5f706c6561736521')), 'token_please'));
    assert.ok(!isCharlist(termOf(bytesOf('83 6b 0003 746f6b')), 'token_please'));
    assert.ok(isCharlist([], ''));
    assert.ok(isCharlist([233, 8364], 'é€'));
  });

  it('what is decoded stays as it is when the bytes are used again', () => {
    const bytes = bytesOf('83 6d 00000002 fffe');
    const term = termOf(bytes);
    bytes.fill(0);
    assert.deepStrictEqual(term, Uint8Array.of(0xff, 0xfe));
  });

  it('a view into a larger buffer is read within its bounds', () => {
    const around = bytesOf('00 83 6d 00000002 6869');
    assert.equal(termOf(new Uint8Array(around.buffer, around.byteOffset + 1, around.length - 1)), 'hi');
    assert.equal(
      reasonOf(new Uint8Array(around.buffer, around.byteOffset + 1, around.length - 2)),
      'malformed',
    );
  });

  it('names of the language are ordinary keys', () => {
    const names = ['__proto__', 'constructor', 'toString'];
    const term = new Map(names.map((name) => [name, new Map([['polluted', true]])]));
    assert.deepStrictEqual(termOf(encode(term)), term);
    assert.deepStrictEqual(fromJson(toJson(term)), term);
    assert.equal(toJson(term), `{${names.map((name) => `"${name}":{"polluted":true}`).join(',')}}`);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  });
});

describe('hostile bytes', () => {
  it('a term cut short anywhere is refused', () => {
    const whole = [
      ...GOLDEN.map(([, , hex]) => bytesOf(hex)),
      ...ALSO.filter(([name]) => !name.startsWith('bytes after')).map(([, , bytes]) => bytes),
    ].filter((bytes) => bytes.length < 1_000);
    for (const bytes of whole) {
      for (let length = 0; length < bytes.length; length += 1) {
        assert.equal(
          reasonOf(bytes.subarray(0, length)),
          'malformed',
          `${bytes.toString('hex')} to ${length}`,
        );
      }
    }
  });

  it('every tag followed by nothing, by zeros and by ones is refused or a term, and never anything else', () => {
    for (let tag = 0; tag <= 255; tag += 1) {
      for (const fill of [0x00, 0xff]) {
        for (const length of [0, 1, 5, 40]) {
          assert.doesNotThrow(() =>
            decode(Buffer.concat([Uint8Array.of(131, tag), Buffer.alloc(length, fill)])),
          );
        }
      }
    }
  });

  const REFUSED: readonly (readonly [name: string, reason: EtfReason, hex: string])[] = [
    ['nothing at all', 'malformed', ''],
    ['text', 'malformed', Buffer.from('nope').toString('hex')],
    ['the version alone', 'malformed', '83'],
    ['another version', 'malformed', '82 61 01'],
    ['an unknown tag', 'malformed', '83 01'],
    ['another atom', 'unsafe', '83 64 0003 666f6f'],
    ['another short atom', 'unsafe', '83 77 03 666f6f'],
    ['an atom that begins like one of the three', 'unsafe', '83 77 04 6e696c00'],
    ['an empty atom', 'unsafe', '83 77 00'],
    ['an atom inside a map', 'unsafe', '83 74 00000001 6d 00000001 61 73 03 666f6f'],
    ['an atom of a shared table', 'unsafe', '83 52 00'],
    ['a function', 'unsafe', '83 70 00000010 00'],
    ['a function of a module', 'unsafe', '83 71 73 03 666f6f 73 03 626172 6101'],
    ['a process', 'unsafe', '83 58 77 03 6e696c 00000001 00000000 00000000'],
    ['a port', 'unsafe', '83 59 77 03 6e696c 00000001 00000000'],
    ['a reference', 'unsafe', '83 5a 0001 77 03 6e696c 00000000 00000001'],
    ['an infinite float', 'malformed', '83 46 7ff0000000000000'],
    ['a float that is no number', 'malformed', '83 46 7ff8000000000001'],
    ['a float whose text is no float', 'malformed', oldFloat('0x10').toString('hex')],
    ['a float whose text is infinite', 'malformed', oldFloat('1.00000000000000000000e+999').toString('hex')],
    ['an improper list', 'unsupported', '83 6c 00000001 6101 6102'],
    ['bits that are no whole bytes', 'unsupported', '83 4d 00000001 03 e0'],
    ['nine bits in a byte', 'malformed', '83 4d 00000001 09 e0'],
    ['no bits in a byte', 'malformed', '83 4d 00000001 00 e0'],
    ['a key that stands twice', 'malformed', '83 74 00000002 6101 6a 62 00000001 6a'],
    ['a list that stands twice as key', 'malformed', '83 74 00000002 6b 0001 07 6a 6c 00000001 6107 6a 6a'],
    ['a map in a key', 'unsupported', '83 74 00000001 68 01 74 00000000 6a'],
    ['a compressed term within a term', 'malformed', '83 68 01 50 00000002 789c4b64040000c90063'],
    ['a version within a term', 'malformed', '83 68 01 83 6101'],
    ['4 GiB of text', 'malformed', '83 6d ffffffff 61'],
    ['4 GiB of bits', 'malformed', '83 4d ffffffff 08 61'],
    ['a list of 2^32 - 1', 'malformed', '83 6c ffffffff 6a6a6a'],
    ['a tuple of 2^32 - 1', 'malformed', '83 69 ffffffff 6a6a6a'],
    ['a map of 2^32 - 1', 'malformed', '83 74 ffffffff 6a6a6a'],
    ['an integer of 4 GiB', 'malformed', '83 6f ffffffff 00 01'],
    ['an integer of 1,025 bytes', 'too_large', `83 6f 00000401 00 ${'01'.repeat(1_025)}`],
  ];
  for (const [name, reason, hex] of REFUSED) {
    it(`${name} is refused as ${reason}`, () => {
      assert.equal(reasonOf(bytesOf(hex)), reason);
    });
  }

  it('the unsafe login is refused, and the refusal quotes nothing of it', () => {
    const login = Buffer.from(
      'g3QAAAAEbQAAABFmZWRlY2tzLWRldmljZS1pZG0AAAALbmVydmVzLTU0M3htAAAABW90aGVyZAARbm90X2V4aXN0aW5nX2F0b21tAAAACHBhc3N3b3JkbQAAABBwYXJhbm9pZC1hbmRyb2lkbQAAAAh1c2VybmFtZW0AAAAGbWFydmlu',
      'base64',
    );
    assert.deepEqual(decode(login), {
      ok: false,
      reason: 'unsafe',
      detail: 'the atom at byte 57 must be true, false or nil',
    });
  });

  it('nesting has a bound, on every kind of container, in both directions', () => {
    const around: Readonly<Record<string, (depth: number) => Buffer>> = {
      list: (depth) => bytesOf(`83 ${'6c00000001'.repeat(depth)} 6101 ${'6a'.repeat(depth)}`),
      tuple: (depth) => bytesOf(`83 ${'6801'.repeat(depth)} 6101`),
      'large tuple': (depth) => bytesOf(`83 ${'6900000001'.repeat(depth)} 6101`),
      'map in a value': (depth) => bytesOf(`83 ${'7400000001 6101'.repeat(depth)} 6101`),
    };
    for (const [kind, bytes] of Object.entries(around)) {
      const deepest = termOf(bytes(MAX_DEPTH));
      assert.deepStrictEqual(termOf(encode(deepest)), deepest, kind);
      assert.equal(reasonOf(bytes(MAX_DEPTH + 1)), 'too_large', kind);
      assert.equal(reasonOf(bytes(100_000)), 'too_large', kind);
      assert.throws(() => encode(tuple(deepest)), refused('too_large'), kind);
    }
    const loop: Term[] = [];
    loop.push(loop);
    assert.throws(() => encode(loop), refused('too_large'));
    assert.throws(() => toJson(loop), refused('too_large'));
    assert.throws(() => fromJson('['.repeat(1_000) + ']'.repeat(1_000)), refused('too_large'));
  });

  it('the number of terms has a bound, whatever holds them', () => {
    const most = (maxTerms: number): DecodeLimits => ({ maxTerms });
    const ten = bytesOf(`83 6c 00000009 ${'6a'.repeat(9)} 6a`);
    assert.equal((termOf(ten, most(10)) as Term[]).length, 9);
    assert.equal(reasonOf(ten, most(9)), 'too_large');
    assert.equal(reasonOf(bytesOf('83 6b 0009 010203040506070809'), most(9)), 'too_large');
    assert.equal(reasonOf(bytesOf('83 74 00000002 6101 6a 6102 6a'), most(4)), 'too_large');
    const frame = Buffer.concat([bytesOf('83 6c'), uint32(9_000_000), Buffer.alloc(9_000_001, 106)]);
    assert.equal(reasonOf(frame, { maxBytes: 10_000_000 }), 'too_large');
    const chained = Buffer.concat([bytesOf('83'), Buffer.alloc(9_000_000, bytesOf('6c 00000001 6a'))]);
    assert.equal(reasonOf(chained, { maxBytes: 10_000_000 }), 'too_large');
  });

  it('bytes have a bound', () => {
    assert.equal(termOf(bytesOf('83 6d 00000002 6869'), { maxBytes: 8 }), 'hi');
    assert.equal(reasonOf(bytesOf('83 6d 00000002 6869'), { maxBytes: 7 }), 'too_large');
    assert.throws(() => encode('hi', 7), refused('too_large'));
    assert.equal(encode('hi', 8).length, 8);
  });

  it('integers that would all fall in one place of a map are refused before they cost seconds', () => {
    const entries = Buffer.concat(
      Array.from({ length: 60_000 }, (_, at) => Buffer.concat([bytesOf('62'), uint32(at), bytesOf('6a')])),
    );
    const map = Buffer.concat([bytesOf('83 74'), uint32(60_000), entries]);
    assert.equal(reasonOf(map), 'too_large');
    const pairs = Array.from({ length: 6_000 }, (_, at) => `[${at},0]`).join(',');
    assert.throws(() => fromJson(`{"$map":[${pairs}]}`), refused('too_large'));
  });

  describe('compressed', () => {
    const zeros = Buffer.concat([bytesOf('6d'), uint32(9_000_000), Buffer.alloc(9_000_000)]);

    it('a bomb is refused by what it says and by what it is', () => {
      assert.equal(reasonOf(compressed(zeros), { maxBytes: 100_000 }), 'too_large');
      assert.equal(reasonOf(compressed(zeros, 0xffffffff)), 'too_large');
      const before = process.memoryUsage().arrayBuffers;
      const inflated = reasonOf(compressed(zeros, 1_000), { maxBytes: 100_000 });
      assert.equal(inflated, 'malformed');
      assert.ok(
        process.memoryUsage().arrayBuffers - before < 1_000_000,
        'inflating ended at the claimed size',
      );
    });

    it('a size that is not the real one is refused', () => {
      const inner = bytesOf('6101');
      assert.equal(termOf(compressed(inner)), 1);
      for (const claimed of [0, 1, 3, 1_000]) {
        assert.equal(reasonOf(compressed(inner, claimed)), 'malformed', String(claimed));
      }
    });

    it('what is no zlib stream, or a damaged one, is refused', () => {
      assert.equal(reasonOf(bytesOf('83 50 00000002 6101')), 'malformed');
      const damaged = compressed(bytesOf(`6d 00000064 ${'61'.repeat(100)}`));
      damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
      assert.equal(reasonOf(damaged), 'malformed');
    });

    it('within a compressed term the same rules hold', () => {
      assert.equal(reasonOf(compressed(bytesOf('77 03 666f6f'))), 'unsafe');
      assert.equal(reasonOf(compressed(compressed(bytesOf('6101')).subarray(1))), 'malformed');
      assert.equal(reasonOf(compressed(bytesOf('83 6101'))), 'malformed');
      assert.equal(reasonOf(compressed(Buffer.alloc(1_000_000, bytesOf('68 01')))), 'too_large');
    });
  });

  it('a term without bytes is refused: no digit is guessed, no text is changed', () => {
    const twice = new Map<Term, Term>([
      [1, 'a'],
      [1n, 'b'],
    ]);
    const inKey = new Map([[[new Map()], 1]]);
    for (const term of [
      inKey,
      NaN,
      Infinity,
      float(NaN),
      2 ** 53,
      '\ud800',
      twice,
      new Map([[[1], 1]]).set([1], 2),
    ]) {
      assert.throws(() => encode(term), refused('unsupported'));
    }
    assert.throws(() => encode(256n ** 1_024n), refused('too_large'));
    assert.equal(encode(2n).toString('hex'), '836102');
    assert.equal(encode(Buffer.from('hi')).toString('hex'), '836d000000026869');
    assert.equal(encode(float(1.5)).toString('hex'), '83463ff8000000000000');
  });
});

describe('terms and JSON', () => {
  const SAME: readonly (readonly [term: Term, json: string])[] = [
    [null, 'null'],
    [true, 'true'],
    [-12, '-12'],
    [9007199254740993n, '9007199254740993'],
    [-(10n ** 40n), `-1${'0'.repeat(40)}`],
    [1n - 256n ** 1_024n, String(1n - 256n ** 1_024n)],
    [1.5, '1.5'],
    [float(1), '1.0'],
    [float(-0), '-0.0'],
    [float(1e300), '1e+300'],
    [5e-324, '5e-324'],
    ['say "hi"\n\u0000€😀', '"say \\"hi\\"\\n\\u0000€😀"'],
    [Uint8Array.of(255, 0), '{"$binary":"/wA="}'],
    [[], '[]'],
    [[1, [2, []], 'x'], '[1,[2,[]],"x"]'],
    [new Map(), '{}'],
    [
      new Map<Term, Term>([
        ['b', [1]],
        ['a', new Map([['', null]])],
      ]),
      '{"b":[1],"a":{"":null}}',
    ],
    [
      new Map<Term, Term>([
        [1, 2],
        ['1', 3],
      ]),
      '{"$map":[[1,2],["1",3]]}',
    ],
    [new Map([['$binary', '/wA=']]), '{"$map":[["$binary","/wA="]]}'],
    [new Map([['$map', []]]), '{"$map":[["$map",[]]]}'],
  ];
  for (const [term, json] of SAME) {
    it(`${json.slice(0, 40)} is shown so and read so`, () => {
      assert.equal(toJson(term), json);
      assert.deepStrictEqual(fromJson(json), term);
      assert.doesNotThrow(() => JSON.parse(json));
    });
  }

  it('a tuple is shown as an array', () => {
    assert.equal(toJson(tuple('temperature', float(21), tuple())), '["temperature",21.0,[]]');
  });

  it('JSON of other writers is read', () => {
    assert.deepStrictEqual(
      fromJson(' { "a" : [ 1 , 2.50 , 1E3, -0 ] , "a" : "\\u00e9\\ud83d\\ude00" } '),
      new Map([['a', 'é😀']]),
    );
    assert.deepStrictEqual(fromJson('[1E3,2.50,-0,100000000000000000000]'), [
      float(1000),
      2.5,
      0,
      10n ** 20n,
    ]);
    assert.deepStrictEqual(fromJson('{"$binary":"no base64"}'), new Map([['$binary', 'no base64']]));
    assert.deepStrictEqual(fromJson('{"$map":[[1]]}'), new Map([['$map', [[1]]]]));
    assert.deepStrictEqual(
      fromJson('{"$map":[],"a":1}'),
      new Map<Term, Term>([
        ['$map', []],
        ['a', 1],
      ]),
    );
  });

  it('a number that no term is, is refused', () => {
    assert.throws(() => fromJson('1e400'), refused('unsupported'));
    assert.throws(() => fromJson('9'.repeat(1_000_000)), refused('too_large'));
    assert.throws(() => toJson(2 ** 53), refused('unsupported'));
    assert.throws(() => toJson(NaN), refused('unsupported'));
  });

  it('a megabyte of escapes is read', () => {
    const text = '"\\'.repeat(1_000_000);
    assert.equal(fromJson(JSON.stringify(text)), text);
  });
});
