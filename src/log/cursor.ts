/**
 * What a client holds: the epoch of the log and a position in it, opaque on the wire and exclusive (it names what
 * was seen; the reader gets what comes after). A cursor that cannot be honoured is refused, never clamped (G6).
 */
import { LastseenError, quote } from '../errors.ts';
import type { Bounds } from './store.ts';

/** A cursor, taken apart. */
export interface Cursor {
  readonly epoch: string;
  readonly position: number;
}

const PATTERN = /^([0-9a-z]{8})\.(0|[1-9a-z][0-9a-z]{0,10})$/;

/** The wire form of a place in the log. */
export function encodeCursor(epoch: string, position: number): string {
  return `${epoch}.${position.toString(36)}`;
}

/**
 * The position that `text` names, if the feed can continue from there without a gap. `prunedThrough` is the position
 * of the feed's last event that is gone: what other feeds have lost does not concern its readers.
 * @throws ERR_CURSOR_MALFORMED, ERR_CURSOR_EPOCH, ERR_CURSOR_AHEAD, ERR_CURSOR_TOO_OLD, each with the lowest
 *   cursor that would work.
 */
export function resolveCursor(text: string, bounds: Bounds, prunedThrough: number): number {
  const floor = encodeCursor(bounds.epoch, prunedThrough);
  const cursor = parse(text);
  if (cursor === undefined) {
    const message = `the cursor is malformed: ${quote(text)}. Give back a cursor as it was received, "start" or "now"`;
    throw new LastseenError('ERR_CURSOR_MALFORMED', message, { floor });
  }
  if (cursor.epoch !== bounds.epoch) {
    const message = `the cursor is of another epoch of this log (it was restored or replaced since): read again from the floor, or from "start"`;
    throw new LastseenError('ERR_CURSOR_EPOCH', message, { floor });
  }
  if (cursor.position > bounds.head) {
    const message = `the cursor is ahead of the log, which ends at ${encodeCursor(bounds.epoch, bounds.head)}: it was not made by this log`;
    throw new LastseenError('ERR_CURSOR_AHEAD', message, { floor });
  }
  if (cursor.position < prunedThrough) {
    throw tooOldError(bounds.epoch, prunedThrough);
  }
  return cursor.position;
}

/** The verdict on a reader that has not seen what is gone. `prunedThrough` is the position it may begin after. */
export function tooOldError(epoch: string, prunedThrough: number): LastseenError {
  const message = `the cursor is older than the retained log: events after it are gone. Read again from the floor, or from "start"`;
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
