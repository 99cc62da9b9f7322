/**
 * Erlang terms as JavaScript values. `decode.ts` and `encode.ts` convert between bytes and terms, `json.ts`
 * between JSON text and terms. Terms are data: the atoms are `true`, `false` and `nil`, and there are no
 * functions, processes, ports or references.
 */

/**
 * An Erlang term.
 *
 * | Erlang | JavaScript |
 * |---|---|
 * | `nil`, `true`, `false` | `null`, `true`, `false` |
 * | integer | `number`; `bigint` from 2^53, so that no digit is lost |
 * | float | `number`; a `Float` if the value is whole, so that `1.0` does not become `1` |
 * | binary | `string` if it is valid UTF-8, otherwise `Uint8Array` |
 * | list, charlist | array. Erlang has one type for both: `'hi'` is `[104, 105]`; see `isCharlist` |
 * | tuple | `Tuple` |
 * | map | `Map`, whose keys contain no maps. Keys that are objects in JavaScript are compared by identity |
 *
 * In the other direction, a `bigint` may be small, and a `Uint8Array` may contain UTF-8.
 */
export type Term =
  null | boolean | number | bigint | string | Uint8Array | Term[] | Map<Term, Term> | Tuple | Float;

/** A tuple. */
export interface Tuple {
  readonly kind: 'tuple';
  readonly items: readonly Term[];
}

/** A float, including one with a whole value. */
export interface Float {
  readonly kind: 'float';
  readonly value: number;
}

/** Creates a tuple. */
export function tuple(...items: readonly Term[]): Tuple {
  return { kind: 'tuple', items };
}

/** Creates a float. */
export function float(value: number): Float {
  return { kind: 'float', value };
}

/** Converts text to a charlist: the list of its code points, as Erlang writes it in single quotes. */
export function charlist(text: string): number[] {
  return Array.from(text, (character) => character.codePointAt(0) ?? 0);
}

/** Returns true if a term is the charlist of `text`. A binary with the same text is another term. */
export function isCharlist(term: Term, text: string): boolean {
  const codePoints = charlist(text);
  return (
    Array.isArray(term) &&
    term.length === codePoints.length &&
    codePoints.every((code, index) => term[index] === code)
  );
}

/**
 * The reason of an `EtfError`. `malformed`: not this format, or incomplete. `unsafe`: an atom other than the
 * three, a function, a process. `unsupported`: valid, but without a value here. `too_large`: beyond one of
 * the limits below.
 */
export type EtfReason = 'malformed' | 'unsafe' | 'unsupported' | 'too_large';

/**
 * A term that cannot be decoded or encoded. The message contains the location and does not quote the content.
 */
export class EtfError extends Error {
  override readonly name = 'EtfError';
  readonly reason: EtfReason;

  constructor(reason: EtfReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Maximum nesting depth of lists, tuples and maps. */
export const MAX_DEPTH = 64;

/** Maximum bytes of an integer. An integer of 2,466 decimal digits fits. */
export const MAX_INTEGER_BYTES = 1_024;

/** Maximum bytes of an encoded term: the frame size at which servers of this protocol close a connection. */
export const MAX_BYTES = 10_000_000;

/**
 * Maximum number of numeric map keys in one term. An attacker can choose numbers that collide in a `Map`,
 * which takes time with the square of their number: 5,000 such keys take 40 ms, 65,000 take seconds.
 */
const MAX_NUMBER_KEYS = 5_000;

/**
 * Creates a counter for the map keys of one term.
 * @throws EtfError if too many keys are numbers
 */
export function createKeyCount(): (key: Term) => void {
  let numberKeys = 0;
  return (key) => {
    if (typeof key !== 'number' && typeof key !== 'bigint') {
      return;
    }
    numberKeys += 1;
    if (numberKeys > MAX_NUMBER_KEYS) {
      throw new EtfError('too_large', `must have at most ${MAX_NUMBER_KEYS} numeric keys`);
    }
  };
}

/** Returns the term of a float: a `Float` for a whole value, otherwise a number. */
export function floatTerm(value: number): number | Float {
  return Number.isInteger(value) ? float(value) : value;
}

/** Returns the term of an integer: a number up to 2^53, otherwise a bigint. */
export function integerTerm(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** @throws EtfError if `depth` exceeds the maximum nesting depth */
export function requireDepth(depth: number): void {
  if (depth > MAX_DEPTH) {
    throw new EtfError('too_large', `must not nest deeper than ${MAX_DEPTH} levels`);
  }
}
