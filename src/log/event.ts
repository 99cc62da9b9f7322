/** Events of the log, and the rules for new events. */
import { type InputFault, LastseenError, quote } from '../errors.ts';
import type { Place } from './place.ts';

/** An event to append. */
export interface NewEvent {
  /** The address that subscribers read. 1 to 256 characters. */
  readonly accessId: string;
  /** The publisher's time, by convention in milliseconds since 1970. `null`: the time of recording. */
  readonly createdAt: number | null;
  /** The publisher's id for the event, unique within its access_id (G5). 1 to 256 characters, or `null`. */
  readonly id: string | null;
  /** JSON text without white space between tokens, otherwise unchanged (G9). */
  readonly payload: string;
}

/**
 * An event of the log. It is also the place of the event: `position` counts the events of the whole log, 1, 2, 3, …
 * without gaps, in commit order (G2).
 */
export interface LogEvent extends Place {
  readonly accessId: string;
  /** Position inside the access_id: 1, 2, 3, … without gaps (G2). */
  readonly version: number;
  readonly createdAt: number;
  /** Time of recording in milliseconds since 1970, by the clock of the server. */
  readonly recordedAt: number;
  readonly id: string | null;
  readonly payload: string;
}

/** Maximum length of an access_id and of an event id, in Unicode code points. */
export const MAX_NAME_CHARACTERS = 256;

/** Prefix of access_ids that the service reserves. */
export const RESERVED_PREFIX = '$';

/** Creates an event that the service appends: without an id, with the time of recording. */
export function serviceEvent(accessId: string, value: Readonly<Record<string, unknown>>): NewEvent {
  return { accessId, createdAt: null, id: null, payload: JSON.stringify(value) };
}

/** A lone surrogate has no UTF-8 form, so two such names could become the same name in the store. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Estimates the memory of an event in bytes: its text as UTF-16, and 176 bytes for the object. */
export function eventBytes(event: LogEvent): number {
  return 176 + 2 * event.payload.length;
}

/** Returns the fault of a name (an access_id or an event id), or `undefined` for a valid name. */
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

/** Returns the fault of an access_id that a publisher sends, or `undefined` for a valid one. */
export function accessIdFault(value: unknown): string | undefined {
  const fault = nameFault(value);
  if (fault !== undefined) {
    return fault;
  }
  return (value as string).startsWith(RESERVED_PREFIX)
    ? `must not begin with "$", which is reserved, got ${quote(value)}`
    : undefined;
}

/**
 * Returns the fault of a `created_at`, or `undefined` for an integer between −2^53 and 2^53, both exclusive.
 */
export function createdAtFault(value: unknown): string | undefined {
  return Number.isSafeInteger(value)
    ? undefined
    : `must be an integer between −2^53 and 2^53, got ${quote(value)}`;
}

/** The error for an invalid batch. It names each invalid event and field. */
export function invalidEvents(faults: readonly InputFault[]): LastseenError {
  const first = faults[0];
  const location = first === undefined ? '' : `${first.pointer}: ${first.detail}`;
  return new LastseenError('ERR_EVENT_INVALID', `nothing was appended: ${location}`, { faults });
}

function isTooLong(value: string): boolean {
  return value.length > 2 * MAX_NAME_CHARACTERS || [...value].length > MAX_NAME_CHARACTERS;
}
