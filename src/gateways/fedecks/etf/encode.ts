/** Encodes terms in the External Term Format, with the bytes of `term_to_binary` since OTP 26. */
import { EtfError, type Float, MAX_BYTES, MAX_INTEGER_BYTES, requireDepth, type Term } from './term.ts';

/** Maximum length of a list in the compact form for bytes. */
const MAX_STRING_LENGTH = 65_535;

/**
 * Encodes a term. Map keys keep the order of the `Map`.
 * @throws EtfError for a number that is not finite, an integer beyond 2^53 as `number` (use a `bigint` or a
 *   `Float`), text with a lone surrogate, a duplicate key, a key that contains a map, and a term that is too
 *   large or too deep
 */
export function encode(term: Term, maxBytes: number = MAX_BYTES): Buffer {
  const sink = createSink(maxBytes);
  sink.uint8(131);
  writeTerm(sink, term, 0);
  return sink.bytes();
}

interface Sink {
  uint8(value: number): void;
  uint16(value: number): void;
  uint32(value: number): void;
  int32(value: number): void;
  float64(value: number): void;
  put(bytes: Uint8Array): void;
  readonly length: number;
  /** Returns the bytes from `start`, one per character. */
  textSince(start: number): string;
  /** True while a map key is written: a key must not contain a map. */
  isInKey: boolean;
  bytes(): Buffer;
}

function createSink(maxBytes: number): Sink {
  let buffer = Buffer.allocUnsafe(256);
  let offset = 0;
  const reserve = (length: number): number => {
    const end = offset + length;
    if (end > maxBytes) {
      throw new EtfError('too_large', `must have at most ${maxBytes} bytes`);
    }
    if (end > buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, 2 * buffer.length));
      buffer.copy(larger, 0, 0, offset);
      buffer = larger;
    }
    offset = end;
    return end - length;
  };
  return {
    uint8(value) {
      const start = reserve(1);
      buffer.writeUInt8(value, start);
    },
    uint16(value) {
      const start = reserve(2);
      buffer.writeUInt16BE(value, start);
    },
    uint32(value) {
      const start = reserve(4);
      buffer.writeUInt32BE(value, start);
    },
    int32(value) {
      const start = reserve(4);
      buffer.writeInt32BE(value, start);
    },
    float64(value) {
      const start = reserve(8);
      buffer.writeDoubleBE(value, start);
    },
    put(bytes) {
      const start = reserve(bytes.length);
      buffer.set(bytes, start);
    },
    get length() {
      return offset;
    },
    textSince: (start) => buffer.toString('latin1', start, offset),
    isInKey: false,
    // The result is a copy, so that a small term does not retain a large buffer.
    bytes: () => Buffer.from(buffer.subarray(0, offset)),
  };
}

function writeTerm(sink: Sink, term: Term, depth: number): void {
  if (term === null) {
    writeAtom(sink, 'nil');
  } else if (typeof term === 'boolean') {
    writeAtom(sink, String(term));
  } else if (typeof term === 'number') {
    writeNumber(sink, term);
  } else if (typeof term === 'bigint') {
    writeInteger(sink, term);
  } else if (typeof term === 'string') {
    writeBinary(sink, utf8(term));
  } else if (term instanceof Uint8Array) {
    writeBinary(sink, term);
  } else if (Array.isArray(term)) {
    writeList(sink, term, depth);
  } else if (term instanceof Map) {
    writeMap(sink, term, depth);
  } else if (term.kind === 'tuple') {
    writeTuple(sink, term.items, depth);
  } else {
    writeFloat(sink, term);
  }
}

function writeAtom(sink: Sink, name: string): void {
  sink.uint8(119);
  sink.uint8(name.length);
  sink.put(Buffer.from(name, 'latin1'));
}

function writeNumber(sink: Sink, value: number): void {
  if (!Number.isInteger(value)) {
    writeFloat(sink, { kind: 'float', value });
  } else if (!Number.isSafeInteger(value)) {
    throw new EtfError('unsupported', 'an integer beyond 2^53 must be a bigint or a float');
  } else {
    writeInteger(sink, BigInt(value));
  }
}

function writeFloat(sink: Sink, { value }: Float): void {
  if (!Number.isFinite(value)) {
    throw new EtfError('unsupported', 'a float must be finite');
  }
  sink.uint8(70);
  sink.float64(value);
}

function writeInteger(sink: Sink, value: bigint): void {
  if (value >= 0n && value <= 255n) {
    sink.uint8(97);
    sink.uint8(Number(value));
  } else if (BigInt.asIntN(32, value) === value) {
    sink.uint8(98);
    sink.int32(Number(value));
  } else {
    const hex = (value < 0n ? -value : value).toString(16);
    const littleEndian = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex').reverse();
    const { length } = littleEndian;
    if (length > MAX_INTEGER_BYTES) {
      throw new EtfError(
        'too_large',
        `an integer must have at most ${MAX_INTEGER_BYTES} bytes, got ${length}`,
      );
    }
    sink.uint8(length <= 255 ? 110 : 111);
    if (length <= 255) {
      sink.uint8(length);
    } else {
      sink.uint32(length);
    }
    sink.uint8(value < 0n ? 1 : 0);
    sink.put(littleEndian);
  }
}

function utf8(text: string): Buffer {
  if (/\p{Surrogate}/u.test(text)) {
    throw new EtfError('unsupported', 'text must be well-formed Unicode, got a lone surrogate');
  }
  return Buffer.from(text, 'utf8');
}

function writeBinary(sink: Sink, bytes: Uint8Array): void {
  sink.uint8(109);
  sink.uint32(bytes.length);
  sink.put(bytes);
}

function writeTuple(sink: Sink, items: readonly Term[], depth: number): void {
  requireDepth(depth + 1);
  if (items.length <= 255) {
    sink.uint8(104);
    sink.uint8(items.length);
  } else {
    sink.uint8(105);
    sink.uint32(items.length);
  }
  for (const item of items) {
    writeTerm(sink, item, depth + 1);
  }
}

function writeList(sink: Sink, items: readonly Term[], depth: number): void {
  if (items.length === 0) {
    sink.uint8(106);
    return;
  }
  requireDepth(depth + 1);
  if (items.length <= MAX_STRING_LENGTH && items.every(isByte)) {
    sink.uint8(107);
    sink.uint16(items.length);
    sink.put(Uint8Array.from(items));
    return;
  }
  sink.uint8(108);
  sink.uint32(items.length);
  for (const item of items) {
    writeTerm(sink, item, depth + 1);
  }
  sink.uint8(106);
}

function isByte(term: Term): term is number {
  return typeof term === 'number' && Number.isInteger(term) && term >= 0 && term <= 255;
}

function writeMap(sink: Sink, map: ReadonlyMap<Term, Term>, depth: number): void {
  requireDepth(depth + 1);
  if (sink.isInKey) {
    throw new EtfError('unsupported', 'a map must not be in the key of another map');
  }
  sink.uint8(116);
  sink.uint32(map.size);
  // Keys that differ in JavaScript can be equal in Erlang, for example 1 and 1n, or two lists with the same
  // items.
  const isPlain = [...map.keys()].every((key) => typeof key === 'string');
  const seen = new Set<string>();
  for (const [key, value] of map) {
    const start = sink.length;
    sink.isInKey = true;
    writeTerm(sink, key, depth + 1);
    sink.isInKey = false;
    if (!isPlain) {
      const bytes = sink.textSince(start);
      if (seen.has(bytes)) {
        throw new EtfError('unsupported', 'a key occurs twice in its map');
      }
      seen.add(bytes);
    }
    writeTerm(sink, value, depth + 1);
  }
}
