/** Events as the SDK gives them, out of the text of the wire. */

export interface ClientEvent {
  readonly accessId: string;
  /** 1, 2, 3, … inside the access_id, without holes. */
  readonly version: number;
  readonly createdAt: number;
  /** When the log took it, milliseconds since 1970. */
  readonly recordedAt: number;
  readonly id: string | null;
  readonly payload: unknown;
  /** The JSON text as it was pushed, for those who need every digit. */
  readonly rawPayload: string;
  /** Give it back to get what comes after the event. */
  readonly cursor: string;
}

interface WireEvent {
  readonly cursor: string;
  readonly access_id: string;
  readonly version: number;
  readonly created_at: number;
  readonly recorded_at: number;
  readonly id?: string;
  readonly payload: unknown;
}

const PAYLOAD = ',"payload":';

/** One event in the text of its own. @throws SyntaxError when it is none */
export function parseEvent(text: string): ClientEvent {
  const wire = JSON.parse(text) as WireEvent;
  if (
    typeof wire.access_id !== 'string' ||
    typeof wire.cursor !== 'string' ||
    !Number.isInteger(wire.version)
  ) {
    throw new SyntaxError('this is no event');
  }
  // The payload is the last member, and no string before it can hold an unescaped quote.
  const rawPayload = text.slice(text.indexOf(PAYLOAD) + PAYLOAD.length, text.lastIndexOf('}'));
  return {
    accessId: wire.access_id,
    version: wire.version,
    createdAt: wire.created_at,
    recordedAt: wire.recorded_at,
    id: wire.id ?? null,
    payload: wire.payload,
    rawPayload,
    cursor: wire.cursor,
  };
}

/** The events of the member `"events":[…]` of a frame or a page. */
export function parseEvents(text: string): ClientEvent[] {
  const events: ClientEvent[] = [];
  let at = text.indexOf('"events":[') + '"events":['.length;
  while (text[at] === '{') {
    const end = endOfObject(text, at);
    events.push(parseEvent(text.slice(at, end)));
    at = text[end] === ',' ? end + 1 : end;
  }
  return events;
}

function endOfObject(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === '"') {
      at = endOfString(text, at);
    } else if (letter === '{') {
      depth += 1;
    } else if (letter === '}' && (depth -= 1) === 0) {
      return at + 1;
    }
  }
  return text.length;
}

/** The closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') {
      at += 1;
    } else if (text[at] === '"') {
      return at;
    }
  }
  return text.length;
}
