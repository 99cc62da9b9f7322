/** Events as the SDK gives them, parsed from the JSON text of the wire. */

export interface ClientEvent {
  readonly accessId: string;
  /** Sequence inside the access_id: 1, 2, 3, … without gaps. */
  readonly version: number;
  /** The integer that the publisher set; milliseconds since 1970 by convention. */
  readonly createdAt: number;
  /** When the server recorded the event: milliseconds since 1970. */
  readonly recordedAt: number;
  /** Unique within the access_id; `null` if the publisher set none. */
  readonly id: string | null;
  /** The payload, parsed by `JSON.parse`. */
  readonly payload: unknown;
  /** The JSON text of the payload as it was pushed: numbers keep every digit. */
  readonly rawPayload: string;
  /** Pass it as `after` to read the events after this one. */
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

/** Parses one event. @throws SyntaxError when the text is not an event */
export function parseEvent(text: string): ClientEvent {
  const wire = JSON.parse(text) as WireEvent;
  if (
    typeof wire.access_id !== 'string' ||
    typeof wire.cursor !== 'string' ||
    !Number.isInteger(wire.version)
  ) {
    throw new SyntaxError('this is not an event');
  }
  // The payload is the last member, and no string before it can contain an unescaped quote.
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

/** Parses the member `"events":[…]` of a frame or a page, which is valid JSON. @throws SyntaxError */
export function parseEvents(text: string): ClientEvent[] {
  const events: ClientEvent[] = [];
  let start = text.indexOf('"events":[') + '"events":['.length;
  while (text[start] === '{') {
    const end = endOfObject(text, start);
    events.push(parseEvent(text.slice(start, end)));
    start = text[end] === ',' ? end + 1 : end;
  }
  return events;
}

/** The index after the object that begins at `start`. */
function endOfObject(text: string, start: number): number {
  let depth = 0;
  for (let index = start; index < text.length; index += 1) {
    const character = text[index];
    if (character === '"') {
      index = endOfString(text, index);
    } else if (character === '{') {
      depth += 1;
    } else if (character === '}' && (depth -= 1) === 0) {
      return index + 1;
    }
  }
  return text.length;
}

/** The index of the closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index += 1) {
    if (text[index] === '\\') {
      index += 1;
    } else if (text[index] === '"') {
      return index;
    }
  }
  return text.length;
}
