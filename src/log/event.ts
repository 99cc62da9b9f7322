/** What the log holds, and the rules an event must meet to enter it. */
import { type InputFault, LastseenError, quote } from '../errors.ts';

/** An event on its way in. */
export interface NewEvent {
  /** Whose event: the address that subscribers read. 1 to 256 characters. */
  readonly accessId: string;
  /** The publisher's own time, by convention milliseconds since 1970; `null` takes the time of recording. */
  readonly createdAt: number | null;
  /** The publisher's name for the event, unique within its access_id (G5). 1 to 256 characters, or `null`. */
  readonly id: string | null;
  /** Compact JSON text, kept letter for letter (G9). */
  readonly payload: string;
}

/** An event of the log. */
export interface Event {
  /** Place in the whole log: 1, 2, 3, … without holes, in commit order (G2). */
  readonly position: number;
  readonly accessId: string;
  /** Place inside the access_id: 1, 2, 3, … without holes (G2). */
  readonly version: number;
  readonly createdAt: number;
  /** When the log took it, milliseconds since 1970 by the server's clock. */
  readonly recordedAt: number;
  readonly id: string | null;
  readonly payload: string;
}

/** Longest access_id and longest event id, in characters (Unicode code points). */
export const MAX_NAME_CHARACTERS = 256;

/** Access_ids that begin so are the service's own. */
export const RESERVED_PREFIX = '$';

/** An event of the service itself: without an id, at the time of recording. */
export function serviceEvent(accessId: string, value: Readonly<Record<string, unknown>>): NewEvent {
  return { accessId, createdAt: null, id: null, payload: JSON.stringify(value) };
}

/** Half of a surrogate pair: it has no UTF-8 form, so two such names could become one in the store. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Roughly what an event costs in memory, in bytes: its text as UTF-16 at worst, and its object. */
export function eventBytes(event: Event): number {
  return 160 + 2 * event.payload.length;
}

/** What is wrong with a name (an access_id or an event id), or `undefined` if it may be used. */
export function nameFault(value: unknown): string | undefined {
  if (typeof value !== 'string') {
    return `must be a string, got ${quote(value)}`;
  }
  if (value.length === 0) {
    return 'must not be empty';
  }
  if (value.length > MAX_NAME_CHARACTERS && isTooLong(value)) {
    return `must have at most ${MAX_NAME_CHARACTERS} characters, got ${[...value].length}`;
  }
  if (LONE_SURROGATE.test(value)) {
    return 'must be well-formed Unicode, got a lone surrogate';
  }
  if (value.includes('\u0000')) {
    return 'must not contain U+0000';
  }
  return undefined;
}

/** What is wrong with an access_id that a publisher names, or `undefined`. */
export function accessIdFault(value: unknown): string | undefined {
  const fault = nameFault(value);
  if (fault !== undefined) {
    return fault;
  }
  return (value as string).startsWith(RESERVED_PREFIX)
    ? `must not begin with "$", which is reserved, got ${quote(value)}`
    : undefined;
}

/** What is wrong with a publisher's time, or `undefined`: an integer, −2^53 < n < 2^53. */
export function createdAtFault(value: unknown): string | undefined {
  return Number.isSafeInteger(value)
    ? undefined
    : `must be an integer, −2^53 < n < 2^53, got ${quote(value)}`;
}

/** The refusal of a batch, naming the event and the field. */
export function invalidEvents(faults: readonly InputFault[]): LastseenError {
  const first = faults[0];
  const location = first === undefined ? '' : `${first.pointer}: ${first.detail}`;
  return new LastseenError('ERR_EVENT_INVALID', `nothing was appended: ${location}`, { faults });
}

function isTooLong(value: string): boolean {
  return value.length > 2 * MAX_NAME_CHARACTERS || [...value].length > MAX_NAME_CHARACTERS;
}
