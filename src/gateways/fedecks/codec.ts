/** Frames for devices: each is one binary message that holds one term. Pure. */
import type { LastseenError } from '../../errors.ts';
import { binaryFrame } from '../../http/frame.ts';
import type { Event } from '../../log/event.ts';
import { encode } from './etf/encode.ts';
import { fromJson } from './etf/json.ts';
import { charlist, EtfError, type Term, tuple } from './etf/term.ts';

/** @throws EtfError for what has no bytes */
export function termFrame(term: Term): Buffer {
  return binaryFrame(encode(term));
}

/** `{'token', <<"…">>}`: the name is a charlist. */
export function tokenFrame(token: string): Buffer {
  return termFrame(tuple(charlist('token'), token));
}

/** A frame an event. */
export function eventFrames(events: readonly Event[], cursor: (position: number) => string): Buffer {
  return Buffer.concat(events.map((event) => eventFrame(event, cursor(event.position))));
}

/** A payload that no device can be sent is named instead, so that versions show no gap. */
function eventFrame(event: Event, cursor: string): Buffer {
  const place: [string, Term][] = [
    ['cursor', cursor],
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

export function errorTerm(error: LastseenError): Map<Term, Term> {
  const term = new Map<Term, Term>([
    ['error', error.code],
    ['detail', error.message],
  ]);
  if (error.floor !== undefined) {
    term.set('floor', error.floor);
  }
  return term;
}
