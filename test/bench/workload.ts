/** The events of the benchmark: 210 bytes of JSON each, the same for the server and for every baseline. */

/** Bytes of one event as it is pushed, without an id. */
export const EVENT_BYTES = 210;

/** Stands once in every payload and nowhere else: readers count it instead of parsing. */
export const MARK = 'é';

const CREATED_AT = 1_760_000_000_000;

/** Digits of an id: room for microseconds since 1970. */
export const ID_DIGITS = 16;

/** A name of a constant length. Neighbours in a batch are far from each other in name order. */
export function accessIdAt(index: number, accessIds: number): string {
  return `user-${String((index * 7_919) % accessIds).padStart(6, '0')}`;
}

export function payloadFor(accessId: string): string {
  const bare = eventWith(accessId, `{"text":"${MARK}"}`).length + 1;
  return `{"text":"${MARK}${'x'.repeat(Math.max(0, EVENT_BYTES - bare))}"}`;
}

export function eventText(accessId: string, id?: string): string {
  const event = eventWith(accessId, payloadFor(accessId));
  return id === undefined ? event : `{"id":"${id}",${event.slice(1)}`;
}

export function batchText(first: number, count: number, accessIds: number, id?: string): string {
  const events = Array.from({ length: count }, (_, at) => eventText(accessIdAt(first + at, accessIds), id));
  return `[${events.join(',')}]`;
}

/** A whole request, ready for the wire. */
export function pushRequest(body: string): Buffer {
  return Buffer.from(
    'POST /push_events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer bench\r\n' +
      `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function eventWith(accessId: string, payload: string): string {
  return `{"access_id":"${accessId}","created_at":${CREATED_AT},"payload":${payload}}`;
}
