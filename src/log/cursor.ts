/**
 * A cursor is the text of a place: the log, its epoch, a position and the tag there. It is opaque on the wire and
 * exclusive: the reader receives the events after the position. The server accepts a cursor only if the log
 * still holds the history that the cursor was given for, and does not clamp it (G6, G13).
 */
import { type CommonGround, LastseenError, quote } from '../errors.ts';
import { type Lineage, type Place, termOf, TERMS } from './place.ts';

/** A decoded cursor. */
export interface Cursor {
  readonly epoch: string;
  readonly position: number;
  /** `undefined` in a cursor of the first form, which proves no history. */
  readonly tag: number | undefined;
}

/** The first form, which earlier releases issued: epoch and position. */
const FIRST_FORM = /^([0-9a-z]{8})\.(0|[1-9a-z][0-9a-z]{0,10})$/;

/** The second form: epoch, position, the number of the form, the number of the log (0 today) and the tag. */
const SECOND_FORM = /^([0-9a-z]{8})\.(0|[1-9a-z][0-9a-z]{0,10})\.2\.0\.(0|[1-9a-z][0-9a-z]{0,10})$/;

/** Maximum number of cursors in the trail of a reader. */
export const MAX_TRAIL = 32;

const MAX_TAG = TERMS * 2 ** 32;

/** Encodes a place as a cursor. The place before the first event has the first form, since it proves nothing. */
export function cursorOf({ lineage, position, tag }: Place): string {
  if (position === 0) {
    return `${lineage.epoch}.0`;
  }
  return `${lineage.epoch}.${position.toString(36)}.2.0.${tag.toString(36)}`;
}

/** Decodes a cursor of either form. Returns `undefined` for other text. */
export function parseCursor(text: string): Cursor | undefined {
  const second = SECOND_FORM.exec(text);
  const [, epoch, digits, tagDigits] = second ?? FIRST_FORM.exec(text) ?? [];
  if (epoch === undefined || digits === undefined) {
    return undefined;
  }
  const position = Number.parseInt(digits, 36);
  const tag = tagDigits === undefined ? undefined : Number.parseInt(tagDigits, 36);
  const isInRange = Number.isSafeInteger(position) && (tag === undefined || tag < MAX_TAG);
  return isInRange ? { epoch, position, tag } : undefined;
}

/** Returns the fault of a trail, or `undefined` for a list of at most 32 cursors. */
export function trailFault(trail: unknown): string | undefined {
  if (!Array.isArray(trail) || trail.length > MAX_TRAIL) {
    return `must be a list of at most ${MAX_TRAIL} cursors, got ${Array.isArray(trail) ? `${trail.length}` : quote(trail)}`;
  }
  const wrong = trail.find((text) => typeof text !== 'string' || parseCursor(text) === undefined) as unknown;
  return wrong === undefined ? undefined : `must be a list of cursors, got ${quote(wrong)}`;
}

/** What a log knows about the place that a cursor names. */
export interface CursorFacts {
  readonly lineage: Lineage;
  /** Highest position. */
  readonly head: number;
  /** Events from this position on have tags. */
  readonly taggedFrom: number;
  /** Tag of the event at the position, 0 for an event without a tag; `undefined` if there is no such event. */
  readonly tag: number | undefined;
  /** The mark of the last event that retention has deleted from each of the feeds that has one. */
  readonly marks: readonly Place[];
  /** Last position of the cursor's term, if the log knows the term and no commit can belong to it any more. */
  readonly termEnd: number | undefined;
}

/** The judgement of a cursor. */
export type Judgement =
  | { readonly verdict: 'held'; readonly place: Place }
  | { readonly verdict: 'other-epoch' | 'ahead' | 'too-old' | 'diverged' };

/**
 * Judges a cursor by what the log knows about its place. A row proves the cursor; where retention has deleted the
 * row, only the mark at exactly that position does.
 */
export function judgeCursor(cursor: Cursor, facts: CursorFacts): Judgement {
  const { position } = cursor;
  if (cursor.epoch !== facts.lineage.epoch) {
    return { verdict: 'other-epoch' };
  }
  if (position > facts.head) {
    // This log gave out the tag, so it has lost the events up to there.
    return { verdict: cursor.tag === undefined ? 'ahead' : 'diverged' };
  }
  const mark = facts.marks.find((found) => found.position === position);
  const tag = position === 0 ? 0 : (facts.tag ?? mark?.tag);
  if (tag !== undefined && !isProven(cursor, tag, facts.taggedFrom)) {
    return { verdict: 'diverged' };
  }
  if (tag === undefined || facts.marks.some((found) => found.position > position)) {
    return { verdict: 'too-old' };
  }
  return { verdict: 'held', place: { lineage: facts.lineage, position, tag } };
}

/** A cursor of the first form holds below the position from which events have tags. */
function isProven(cursor: Cursor, tag: number, taggedFrom: number): boolean {
  return cursor.tag === undefined ? cursor.position < taggedFrom : cursor.tag === tag;
}

/** Returns the last position that the cursor's history and this log have in common, if its term tells. */
export function commonEnd(cursor: Cursor, { termEnd }: CursorFacts): number | undefined {
  const hasTerm = cursor.tag !== undefined && termOf(cursor.tag) > 0;
  return hasTerm && termEnd !== undefined && termEnd < cursor.position ? termEnd : undefined;
}

/** The error for text that is no cursor. */
export function malformedCursor(text: string, floor: Place): LastseenError {
  const message = `the cursor must be a cursor from this server, "start" or "now", got ${quote(text)}`;
  return new LastseenError('ERR_CURSOR_MALFORMED', message, { floor: cursorOf(floor) });
}

/** The error for a cursor that the log refuses. `floor` is the lowest valid cursor. */
export function refusedCursor(
  verdict: Exclude<Judgement['verdict'], 'held'>,
  floor: Place,
  common?: CommonGround,
): LastseenError {
  const details = { floor: cursorOf(floor), ...(common === undefined ? {} : { common }) };
  switch (verdict) {
    case 'other-epoch':
      return new LastseenError(
        'ERR_CURSOR_EPOCH',
        'the cursor belongs to another epoch: the log was reset or replaced. Read from the floor or from "start"',
        details,
      );
    case 'ahead':
      return new LastseenError(
        'ERR_CURSOR_AHEAD',
        'the cursor is ahead of the log: this log did not issue it',
        details,
      );
    case 'too-old':
      return tooOldError(floor);
    case 'diverged':
      return new LastseenError(
        'ERR_CURSOR_DIVERGED',
        `the cursor belongs to a history that the log no longer has: events that it follows were lost. Read from ${
          common === undefined ? 'the floor or from "start"' : 'the common cursor'
        }`,
        details,
      );
  }
}

/** The error for a reader whose next events are deleted. `floor` is the lowest valid place. */
export function tooOldError(floor: Place): LastseenError {
  const message = `the cursor is older than the retained log: events after it are deleted. Read from the floor or from "start"`;
  return new LastseenError('ERR_CURSOR_TOO_OLD', message, { floor: cursorOf(floor) });
}
