/** Encodes frames for devices. Each is one binary message with one term. */
import { cursorHints, type LastseenError } from '../../errors.ts';
import { binaryFrame } from '../../http/frame.ts';
import { cursorOf } from '../../log/cursor.ts';
import type { LogEvent } from '../../log/event.ts';
import { encode } from './etf/encode.ts';
import { fromJson } from './etf/json.ts';
import { charlist, EtfError, type Term, tuple } from './etf/term.ts';

/**
 * Encodes a term as a frame.
 * @throws EtfError if the term cannot be encoded
 */
export function termFrame(term: Term): Buffer {
  return binaryFrame(encode(term));
}

/** Encodes `{'token', <<"…">>}`. The name is a charlist. */
export function tokenFrame(token: string): Buffer {
  return termFrame(tuple(charlist('token'), token));
}

/** Encodes one frame for each event. */
export function eventFrames(events: readonly LogEvent[]): Buffer {
  return Buffer.concat(events.map(eventFrame));
}

/**
 * Encodes an event. A payload that cannot be encoded is replaced by `unsendable`, so that the versions have
 * no gap.
 */
function eventFrame(event: LogEvent): Buffer {
  const place: [string, Term][] = [
    ['cursor', cursorOf(event)],
    ['version', event.version],
    ['created_at', event.createdAt],
  ];
  try {
    return termFrame(new Map<Term, Term>([...place, ['payload', fromJson(event.payload)]]));
  } catch (error) {
    if (!(error instanceof EtfError)) {
      throw error;
    }
    return termFrame(new Map<Term, Term>([...place, ['unsendable', error.message]]));
  }
}

/** Converts an error to a term. */
export function errorTerm(error: LastseenError): Map<Term, Term> {
  const term = new Map<Term, Term>([
    ['error', error.code],
    ['detail', error.message],
  ]);
  for (const [name, value] of Object.entries(cursorHints(error))) {
    term.set(name, value);
  }
  return term;
}
