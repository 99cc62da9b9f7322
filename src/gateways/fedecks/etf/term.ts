/**
 * Erlang terms as values: what devices send and get, in the External Term Format. `etf-decode` and `etf-encode` turn
 * bytes into them and back, `etf-json` JSON text. Pure. Only data has a value here: of atoms `true`, `false` and
 * `nil`, and no functions, processes, ports or references.
 */

/**
 * | Erlang | here |
 * |---|---|
 * | `nil`, `true`, `false` | `null`, `true`, `false` |
 * | integer | `number`; `bigint` from 2^53 on, so that no digit is lost |
 * | float | `number`; with a whole value a `Float`, so that `1.0` does not become `1` |
 * | binary | `string` if it is valid UTF-8, else `Uint8Array` |
 * | list, charlist | array. Erlang has one type for both: `'hi'` is `[104, 105]` and no binary; see `isCharlist` |
 * | tuple | `Tuple` |
 * | map | `Map`, whose keys hold no maps. Any name is harmless as a key; keys that are objects here are found by identity |
 *
 * The other way the same, and a `bigint` may be small and a `Uint8Array` hold text.
 */
export type Term =
  null | boolean | number | bigint | string | Uint8Array | Term[] | Map<Term, Term> | Tuple | Float;

export interface Tuple {
  readonly kind: 'tuple';
  readonly items: readonly Term[];
}

/** A float, also if its value is whole. */
export interface Float {
  readonly kind: 'float';
  readonly value: number;
}

export function tuple(...items: readonly Term[]): Tuple {
  return { kind: 'tuple', items };
}

export function float(value: number): Float {
  return { kind: 'float', value };
}

/** Text as Erlang's single quotes write it: the list of its code points. */
export function charlist(text: string): number[] {
  return Array.from(text, (character) => character.codePointAt(0) ?? 0);
}

/** Whether a term is the charlist of `text`. A binary of the same text is another term. */
export function isCharlist(term: Term, text: string): boolean {
  const codePoints = charlist(text);
  return (
    Array.isArray(term) &&
    term.length === codePoints.length &&
    codePoints.every((code, index) => term[index] === code)
  );
}

/**
 * `malformed`: not this format, or cut short. `unsafe`: an atom other than the three, a function, a process.
 * `unsupported`: well-formed, but without a value here. `too_large`: beyond a bound below.
 */
export type EtfReason = 'malformed' | 'unsafe' | 'unsupported' | 'too_large';

/** What has no value or no bytes. The message says where, and quotes nothing of the content. */
export class EtfError extends Error {
  override readonly name = 'EtfError';
  readonly reason: EtfReason;

  constructor(reason: EtfReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Deepest nesting of lists, tuples and maps. */
export const MAX_DEPTH = 64;

/** Longest integer: 2,466 decimal digits always fit. */
export const MAX_INTEGER_BYTES = 1_024;

/** Longest encoded term: the frame size at which servers of this protocol close a connection. */
export const MAX_BYTES = 10_000_000;

/**
 * Keys of maps that are numbers, in one term. Where a number falls in a `Map` is no secret, and keys chosen to fall
 * in one place take the square of their number: 5,000 such take 40 ms, 65,000 would take seconds.
 */
const MAX_NUMBER_KEYS = 5_000;

/** Takes the keys of one term's maps as they are read. @throws EtfError when too many of them are numbers */
export function createKeyCount(): (key: Term) => void {
  let numberKeys = 0;
  return (key) => {
    if (typeof key !== 'number' && typeof key !== 'bigint') {
      return;
    }
    numberKeys += 1;
    if (numberKeys > MAX_NUMBER_KEYS) {
      throw new EtfError('too_large', `more than ${MAX_NUMBER_KEYS} keys that are numbers`);
    }
  };
}

/** The float or number that a float's value is, so that each value has one form. */
export function floatTerm(value: number): number | Float {
  return Number.isInteger(value) ? float(value) : value;
}

/** The number or bigint that an integer's value is. */
export function integerTerm(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** @throws EtfError when `depth` containers would be nested too deep */
export function requireDepth(depth: number): void {
  if (depth > MAX_DEPTH) {
    throw new EtfError('too_large', `nested deeper than ${MAX_DEPTH}`);
  }
}
