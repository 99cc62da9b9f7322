/**
 * Converts between terms and JSON text: terms of devices become payloads, and payloads become terms. It works
 * on text, because `JSON.parse` loses digits of integers and the difference between `1` and `1.0` (G9).
 */
import {
  createKeyCount,
  EtfError,
  floatTerm,
  integerTerm,
  MAX_INTEGER_BYTES,
  requireDepth,
  type Term,
} from './term.ts';

/**
 * Converts a term to JSON text.
 *
 * | term | JSON |
 * |---|---|
 * | `null`, boolean, string | the same |
 * | integer, float | a number with all its digits; a float has a point or an exponent |
 * | list, tuple | array; `fromJson` returns a list for both |
 * | binary that is not UTF-8 | `{"$binary":"base64"}` |
 * | map with text keys | object |
 * | other map, and a map that looks like one of the two marks | `{"$map":[[key,value],…]}` |
 *
 * @throws EtfError for a number that is not finite, an integer beyond 2^53 as `number`, and a term that is too
 *   deep, as `encode` does
 */
export function toJson(term: Term): string {
  return write(term, 0);
}

/**
 * Converts JSON text to a term, the inverse of `toJson`. A number with a point or an exponent is a float. For
 * duplicate names the last value counts. A mark with invalid content is an ordinary object. The depth is the
 * nesting depth of the text, including marks.
 *
 * @param text valid JSON, such as a payload of the log
 * @throws EtfError for a number that is not finite, an integer that is too long, and text that is too deep
 */
export function fromJson(text: string): Term {
  const tokens = createTokens(text);
  return read(tokens, tokens.next(), 0);
}

const BINARY_MARK = '$binary';
const MAP_MARK = '$map';

function write(term: Term, depth: number): string {
  if (term === null || typeof term === 'boolean' || typeof term === 'string') {
    return JSON.stringify(term);
  }
  if (typeof term === 'bigint') {
    return String(term);
  }
  if (typeof term === 'number') {
    return writeNumber(term);
  }
  if (term instanceof Uint8Array) {
    return markedObject(BINARY_MARK, `"${Buffer.from(term).toString('base64')}"`);
  }
  if (Array.isArray(term)) {
    return writeItems(term, depth);
  }
  if (term instanceof Map) {
    return writeMap(term, depth);
  }
  return term.kind === 'tuple' ? writeItems(term.items, depth) : writeFloat(term.value);
}

function writeNumber(value: number): string {
  if (!Number.isInteger(value)) {
    return writeFloat(value);
  }
  if (!Number.isSafeInteger(value)) {
    throw new EtfError('unsupported', 'an integer beyond 2^53 must be a bigint or a float');
  }
  return String(value);
}

function writeFloat(value: number): string {
  if (!Number.isFinite(value)) {
    throw new EtfError('unsupported', 'a float must be finite');
  }
  const text = Object.is(value, -0) ? '-0' : String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function writeItems(items: readonly Term[], depth: number): string {
  if (items.length > 0) {
    requireDepth(depth + 1);
  }
  return `[${items.map((item) => write(item, depth + 1)).join(',')}]`;
}

function writeMap(map: ReadonlyMap<Term, Term>, depth: number): string {
  requireDepth(depth + 1);
  const entries = [...map].map(([key, value]) => [write(key, depth + 1), write(value, depth + 1)] as const);
  const isPlain = [...map.keys()].every((key) => typeof key === 'string') && !isMark(map);
  return isPlain
    ? `{${entries.map(([key, value]) => `${key}:${value}`).join(',')}}`
    : markedObject(MAP_MARK, `[${entries.map(([key, value]) => `[${key},${value}]`).join(',')}]`);
}

function markedObject(name: string, value: string): string {
  return `{"${name}":${value}}`;
}

function isMark(map: ReadonlyMap<Term, Term>): boolean {
  return map.size === 1 && (map.has(BINARY_MARK) || map.has(MAP_MARK));
}

interface Tokens {
  /** Returns the next token: punctuation, or the text of a scalar. */
  next(): string;
  countKey(key: Term): void;
}

const TOKEN = /[[\]{}:,]|"[^"\\]*(?:\\.[^"\\]*)*"|[^\s[\]{}:,"]+/g;

function createTokens(text: string): Tokens {
  const matches = text.matchAll(TOKEN);
  return {
    next() {
      const token = matches.next();
      if (token.done === true) {
        throw new EtfError('malformed', 'the JSON text ends too early');
      }
      return token.value[0];
    },
    countKey: createKeyCount(),
  };
}

/** Reads the value that begins with `token`. */
function read(tokens: Tokens, token: string, depth: number): Term {
  switch (token[0]) {
    case '[':
      return readArray(tokens, depth);
    case '{':
      return unwrapMark(readObject(tokens, depth), tokens);
    case '"':
    case 't':
    case 'f':
    case 'n':
      return JSON.parse(token) as string | boolean | null;
    default:
      return readNumber(token);
  }
}

function readArray(tokens: Tokens, depth: number): Term[] {
  const items: Term[] = [];
  for (let token = tokens.next(); token !== ']'; token = tokens.next()) {
    requireDepth(depth + 1);
    items.push(read(tokens, token === ',' ? tokens.next() : token, depth + 1));
  }
  return items;
}

function readObject(tokens: Tokens, depth: number): Map<Term, Term> {
  requireDepth(depth + 1);
  const map = new Map<Term, Term>();
  for (let token = tokens.next(); token !== '}'; token = tokens.next()) {
    const name = JSON.parse(token === ',' ? tokens.next() : token) as string;
    tokens.next();
    map.set(name, read(tokens, tokens.next(), depth + 1));
  }
  return map;
}

/**
 * A sign and 2,467 digits. Longer numbers are rejected before `BigInt`, whose time grows with the square of
 * the length.
 */
const MAX_INTEGER_CHARACTERS = 1 + Math.ceil(8 * MAX_INTEGER_BYTES * Math.log10(2));

function readNumber(text: string): Term {
  if (!/[.eE]/.test(text)) {
    if (text.length > MAX_INTEGER_CHARACTERS) {
      throw new EtfError('too_large', `an integer must have at most ${MAX_INTEGER_BYTES} bytes`);
    }
    return integerTerm(BigInt(text));
  }
  const value = Number(text);
  if (!Number.isFinite(value)) {
    throw new EtfError('unsupported', 'a float must be finite');
  }
  return floatTerm(value);
}

function unwrapMark(map: Map<Term, Term>, tokens: Tokens): Term {
  if (!isMark(map)) {
    return map;
  }
  return binaryOf(map.get(BINARY_MARK)) ?? mapOf(map.get(MAP_MARK), tokens) ?? map;
}

function binaryOf(base64: Term | undefined): Uint8Array | undefined {
  if (typeof base64 !== 'string') {
    return undefined;
  }
  const bytes = new Uint8Array(Buffer.from(base64, 'base64'));
  return Buffer.from(bytes).toString('base64') === base64 ? bytes : undefined;
}

function mapOf(entries: Term | undefined, tokens: Tokens): Map<Term, Term> | undefined {
  if (!Array.isArray(entries)) {
    return undefined;
  }
  const map = new Map<Term, Term>();
  for (const entry of entries) {
    if (!Array.isArray(entry) || entry.length !== 2) {
      return undefined;
    }
    const [key, value] = entry as [Term, Term];
    tokens.countKey(key);
    map.set(key, value);
  }
  return map;
}
