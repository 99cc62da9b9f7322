/** An event to push, and its text in the body of a request. */
import type { Random } from '../../runtime.ts';

export interface NewEvent {
  readonly accessId: string;
  /** Integer; milliseconds since 1970 by convention. */
  readonly createdAt: number;
  /** Any JSON value. */
  readonly payload?: unknown;
  /** Instead of `payload`: the text of one JSON value, which is sent unchanged. */
  readonly rawPayload?: string;
  /** Unique within its access_id. Default: the publisher makes a UUID. */
  readonly id?: string;
}

export interface EncodedEvent {
  readonly id: string;
  readonly text: string;
}

/** @throws TypeError when the payload is not a JSON value, or the raw payload is not the text of one */
export function encodeEvent(event: NewEvent, random: Pick<Random, 'uuid'>): EncodedEvent {
  const id = event.id ?? random.uuid();
  const isJson = !['undefined', 'function', 'symbol'].includes(typeof event.payload);
  if (event.rawPayload === undefined && !isJson) {
    throw new TypeError('an event needs a payload that is a JSON value, or a rawPayload');
  }
  if (event.rawPayload !== undefined) {
    assertJson(event.rawPayload);
  }
  const payload = event.rawPayload ?? JSON.stringify(event.payload);
  const head = JSON.stringify({ access_id: event.accessId, created_at: event.createdAt, id });
  return { id, text: `${head.slice(0, -1)},"payload":${payload}}` };
}

function assertJson(text: string): void {
  try {
    JSON.parse(text);
  } catch (cause) {
    throw new TypeError(`rawPayload must be JSON text, got ${JSON.stringify(text.slice(0, 60))}`, { cause });
  }
}
