/**
 * Decodes bytes of the External Term Format (erlang.org, ERTS User's Guide, "External Term Format"). The
 * bytes are untrusted: a claimed length allocates no memory, and the size, the depth and the number of terms
 * are bounded (G7, G8). It rejects the terms that `binary_to_term` of Erlang rejects with `safe`.
 */
import { isUtf8 } from 'node:buffer';
import { inflateSync } from 'node:zlib';
import { encode } from './encode.ts';
import {
  createKeyCount,
  EtfError,
  type EtfReason,
  floatTerm,
  integerTerm,
  MAX_INTEGER_BYTES,
  requireDepth,
  type Term,
} from './term.ts';

/** Limits of a decode. */
export interface DecodeLimits {
  /** Maximum bytes before and after decompression. Default 1 MiB, the default limit of a payload. */
  readonly maxBytes?: number;
  /** Maximum number of terms, including nested ones and the elements of charlists. Default 250,000. */
  readonly maxTerms?: number;
}

/** The term, or the reason why there is none. */
export type Decoded =
  | { readonly ok: true; readonly term: Term }
  | { readonly ok: false; readonly reason: EtfReason; readonly detail: string };

const DEFAULT_MAX_BYTES = 1_048_576;

/** In the worst case, small maps, this is 75 MB and almost 1 s. */
const DEFAULT_MAX_TERMS = 250_000;

const VERSION = 131;
const COMPRESSED = 80;

/**
 * Decodes one term. Like Erlang, it ignores the bytes after the term. `detail` does not quote the content.
 */
export function decode(bytes: Uint8Array, limits: DecodeLimits = {}): Decoded {
  const { maxBytes = DEFAULT_MAX_BYTES, maxTerms = DEFAULT_MAX_TERMS } = limits;
  try {
    if (bytes.length > maxBytes) {
      throw new EtfError('too_large', `must have at most ${maxBytes} bytes, got ${bytes.length}`);
    }
    const source = createSource(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), maxTerms);
    if (source.uint8() !== VERSION) {
      throw new EtfError('malformed', 'must begin with byte 131');
    }
    if (source.peek() !== COMPRESSED) {
      return { ok: true, term: readTerm(source, 0) };
    }
    source.uint8();
    return { ok: true, term: readTerm(createSource(inflate(source, maxBytes), maxTerms), 0) };
  } catch (error) {
    if (!(error instanceof EtfError)) {
      throw error;
    }
    return { ok: false, reason: error.reason, detail: error.message };
  }
}

/** A reader of bytes. Each method throws `malformed` if the bytes end too early. */
interface Source {
  readonly offset: number;
  /** Returns the next byte without reading it. */
  peek(): number | undefined;
  uint8(): number;
  uint16(): number;
  uint32(): number;
  int32(): number;
  float64(): number;
  /** Returns a view of the next bytes, without a copy. */
  take(length: number): Buffer;
  rest(): Buffer;
  /**
   * Counts terms. It rejects a count above the number of remaining bytes, because each term has at least one
   * byte.
   */
  expectTerms(terms: number): void;
  countKey(key: Term): void;
  /** True while a map key is read: a key must not contain a map. */
  isInKey: boolean;
}

function createSource(bytes: Buffer, maxTerms: number): Source {
  let offset = 0;
  let terms = 1;
  const skip = (length: number): number => {
    if (length > bytes.length - offset) {
      throw new EtfError('malformed', `ends too early at byte ${offset}`);
    }
    offset += length;
    return offset - length;
  };
  return {
    get offset() {
      return offset;
    },
    peek: () => bytes[offset],
    uint8: () => bytes.readUInt8(skip(1)),
    uint16: () => bytes.readUInt16BE(skip(2)),
    uint32: () => bytes.readUInt32BE(skip(4)),
    int32: () => bytes.readInt32BE(skip(4)),
    float64: () => bytes.readDoubleBE(skip(8)),
    take: (length) => bytes.subarray(skip(length), offset),
    rest: () => bytes.subarray(offset),
    expectTerms(count) {
      if (count > bytes.length - offset) {
        throw new EtfError('malformed', `ends too early at byte ${offset}`);
      }
      terms += count;
      if (terms > maxTerms) {
        throw new EtfError('too_large', `must have at most ${maxTerms} terms`);
      }
    },
    countKey: createKeyCount(),
    isInKey: false,
  };
}

function inflate(source: Source, maxBytes: number): Buffer {
  const length = source.uint32();
  if (length > maxBytes) {
    throw new EtfError('too_large', `must have at most ${maxBytes} bytes after decompression, got ${length}`);
  }
  const mismatch = new EtfError('malformed', 'the compressed data does not match its header');
  if (length === 0) {
    throw mismatch;
  }
  let bytes: Buffer;
  try {
    bytes = inflateSync(source.rest(), { maxOutputLength: length });
  } catch {
    throw mismatch;
  }
  if (bytes.length !== length) {
    throw mismatch;
  }
  return bytes;
}

/** Reads a term. `depth` is the number of containers around it. */
function readTerm(source: Source, depth: number): Term {
  const start = source.offset;
  const tag = source.uint8();
  switch (tag) {
    case 97:
      return source.uint8();
    case 98:
      return source.int32();
    case 110:
      return readInteger(source, source.uint8());
    case 111:
      return readInteger(source, source.uint32());
    case 70:
      return finiteFloat(source.float64(), start);
    case 99:
      return readFloatText(source);
    case 100:
    case 118:
      return readAtom(source, source.uint16());
    case 115:
    case 119:
      return readAtom(source, source.uint8());
    case 104:
      return readTuple(source, source.uint8(), depth);
    case 105:
      return readTuple(source, source.uint32(), depth);
    case 106:
      return [];
    case 107:
      requireDepth(depth + 1);
      return readBytes(source);
    case 108:
      return readList(source, depth);
    case 109:
      return binary(source.take(source.uint32()));
    case 77:
      return readBits(source);
    case 116:
      return readMap(source, depth);
    default:
      throw unsupportedTagError(tag, start);
  }
}

/** Tags of ports, processes, references, functions and cached atoms. */
const NODE_ONLY = new Set([73, 75, 82, 88, 89, 90, 101, 102, 103, 112, 113, 114, 117, 120, 121]);

function unsupportedTagError(tag: number, offset: number): EtfError {
  return NODE_ONLY.has(tag)
    ? new EtfError('unsafe', `tag ${tag} at byte ${offset} has a meaning only inside one node`)
    : new EtfError('malformed', `unknown tag ${tag} at byte ${offset}`);
}

function readInteger(source: Source, length: number): number | bigint {
  const isNegative = source.uint8() !== 0;
  const littleEndian = source.take(length);
  if (length > MAX_INTEGER_BYTES) {
    throw new EtfError('too_large', `an integer must have at most ${MAX_INTEGER_BYTES} bytes, got ${length}`);
  }
  const magnitude = BigInt(`0x0${Buffer.from(littleEndian).reverse().toString('hex')}`);
  return integerTerm(isNegative ? -magnitude : magnitude);
}

const FLOAT_TEXT_BYTES = 31;

/** Reads a float as nodes before 2012 send it: text in the format `%.20e`, padded with zero bytes. */
function readFloatText(source: Source): Term {
  const start = source.offset;
  const text = source.take(FLOAT_TEXT_BYTES).toString('latin1').replace(/\0.*$/s, '');
  if (!/^ *[-+]?\d+\.\d+e[-+]\d+$/.test(text)) {
    throw new EtfError('malformed', `the text at byte ${start} is not a float`);
  }
  return finiteFloat(Number(text), start);
}

function finiteFloat(value: number, offset: number): Term {
  if (!Number.isFinite(value)) {
    throw new EtfError('malformed', `the float at byte ${offset} must be finite`);
  }
  return floatTerm(value);
}

function readAtom(source: Source, length: number): null | boolean {
  const start = source.offset;
  const name = source.take(length).toString('latin1');
  if (name === 'nil') {
    return null;
  }
  if (name === 'true' || name === 'false') {
    return name === 'true';
  }
  throw new EtfError('unsafe', `the atom at byte ${start} must be true, false or nil`);
}

function readTuple(source: Source, arity: number, depth: number): Term {
  return { kind: 'tuple', items: readItems(source, arity, depth) };
}

function readItems(source: Source, count: number, depth: number): Term[] {
  requireDepth(depth + 1);
  source.expectTerms(count);
  const items: Term[] = [];
  for (let remaining = count; remaining > 0; remaining -= 1) {
    items.push(readTerm(source, depth + 1));
  }
  return items;
}

/** Reads a list. As in Erlang, a tail that is a list continues it. An improper list has no value here. */
function readList(source: Source, depth: number): Term[] {
  const items = readItems(source, source.uint32(), depth);
  for (;;) {
    const tail = source.uint8();
    if (tail === 106) {
      return items;
    }
    if (tail === 107) {
      for (const byte of readBytes(source)) {
        items.push(byte);
      }
      return items;
    }
    if (tail !== 108) {
      throw new EtfError('unsupported', `the list that ends at byte ${source.offset - 1} is improper`);
    }
    for (const item of readItems(source, source.uint32(), depth)) {
      items.push(item);
    }
  }
}

/** Reads a list of integers from 0 to 255 in its compact form. */
function readBytes(source: Source): number[] {
  const length = source.uint16();
  source.expectTerms(length);
  return [...source.take(length)];
}

function binary(bytes: Buffer): string | Uint8Array {
  return isUtf8(bytes) ? bytes.toString('utf8') : new Uint8Array(bytes);
}

/** Reads a bit string. Only a bit string of whole bytes has a value here. */
function readBits(source: Source): Term {
  const start = source.offset;
  const length = source.uint32();
  const lastBits = source.uint8();
  if (lastBits > 8 || (lastBits === 0) !== (length === 0)) {
    throw new EtfError('malformed', `the bit count at byte ${start} is invalid`);
  }
  const bytes = source.take(length);
  if (lastBits !== 0 && lastBits !== 8) {
    throw new EtfError('unsupported', `the bits at byte ${start} must be whole bytes`);
  }
  return binary(bytes);
}

/**
 * Reads a map. Keys that are objects in JavaScript are compared by their bytes. Maps in keys are rejected,
 * because the comparison would be unbounded.
 */
function readMap(source: Source, depth: number): Map<Term, Term> {
  requireDepth(depth + 1);
  if (source.isInKey) {
    throw new EtfError('unsupported', `the map before byte ${source.offset} is in the key of another map`);
  }
  const size = source.uint32();
  source.expectTerms(2 * size);
  const map = new Map<Term, Term>();
  let objectKeys: Set<string> | undefined;
  for (let remaining = size; remaining > 0; remaining -= 1) {
    const start = source.offset;
    source.isInKey = true;
    const key = readTerm(source, depth + 1);
    source.isInKey = false;
    source.countKey(key);
    const bytes = typeof key === 'object' && key !== null ? encode(key).toString('latin1') : undefined;
    if (bytes === undefined ? map.has(key) : objectKeys?.has(bytes)) {
      throw new EtfError('malformed', `the key at byte ${start} occurs twice in its map`);
    }
    if (bytes !== undefined) {
      (objectKeys ??= new Set()).add(bytes);
    }
    map.set(key, readTerm(source, depth + 1));
  }
  return map;
}
