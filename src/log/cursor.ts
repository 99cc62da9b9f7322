/**
 * A cursor names the epoch of the log and a position in it. It is opaque on the wire and exclusive: the
 * reader receives the events after the position. The server refuses a cursor that it cannot serve without a
 * gap, and does not clamp it (G6).
 */
import { LastseenError, quote } from '../errors.ts';
import type { Bounds } from './store.ts';

/** A decoded cursor. */
export interface Cursor {
  readonly epoch: string;
  readonly position: number;
}

const PATTERN = /^([0-9a-z]{8})\.(0|[1-9a-z][0-9a-z]{0,10})$/;

/** Encodes a position as a cursor. */
export function encodeCursor(epoch: string, position: number): string {
  return `${epoch}.${position.toString(36)}`;
}

/**
 * Returns the position of a cursor if the feed can continue from it without a gap. `prunedThrough` is the
 * position of the last event of this feed that retention has deleted. Deleted events of other feeds do not
 * matter.
 * @throws ERR_CURSOR_MALFORMED, ERR_CURSOR_EPOCH, ERR_CURSOR_AHEAD, ERR_CURSOR_TOO_OLD, each with the lowest
 *   valid cursor
 */
export function resolveCursor(text: string, bounds: Bounds, prunedThrough: number): number {
  const floor = encodeCursor(bounds.epoch, prunedThrough);
  const cursor = parse(text);
  if (cursor === undefined) {
    const message = `the cursor must be a cursor from this server, "start" or "now", got ${quote(text)}`;
    throw new LastseenError('ERR_CURSOR_MALFORMED', message, { floor });
  }
  if (cursor.epoch !== bounds.epoch) {
    const message = `the cursor belongs to another epoch: the log was restored or replaced. Read from the floor or from "start"`;
    throw new LastseenError('ERR_CURSOR_EPOCH', message, { floor });
  }
  if (cursor.position > bounds.head) {
    const message = `the cursor is ahead of the log, which ends at ${encodeCursor(bounds.epoch, bounds.head)}: this log did not issue it`;
    throw new LastseenError('ERR_CURSOR_AHEAD', message, { floor });
  }
  if (cursor.position < prunedThrough) {
    throw tooOldError(bounds.epoch, prunedThrough);
  }
  return cursor.position;
}

/** The error for a reader whose next events are deleted. `prunedThrough` is the lowest valid position. */
export function tooOldError(epoch: string, prunedThrough: number): LastseenError {
  const message = `the cursor is older than the retained log: events after it are deleted. Read from the floor or from "start"`;
  return new LastseenError('ERR_CURSOR_TOO_OLD', message, { floor: encodeCursor(epoch, prunedThrough) });
}

function parse(text: string): Cursor | undefined {
  const match = PATTERN.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) {
    return undefined;
  }
  const position = Number.parseInt(match[2], 36);
  return Number.isSafeInteger(position) ? { epoch: match[1], position } : undefined;
}
