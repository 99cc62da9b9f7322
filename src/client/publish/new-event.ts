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

/** @throws TypeError when the payload is not a JSON value, or the raw payload not the text of exactly one */
export function encodeEvent(event: NewEvent, random: Pick<Random, 'uuid'>): EncodedEvent {
  const id = event.id ?? random.uuid();
  const isJson = !['undefined', 'function', 'symbol'].includes(typeof event.payload);
  if (event.rawPayload === undefined && !isJson) {
    throw new TypeError('an event needs a payload that is a JSON value, or a rawPayload');
  }
  if (event.rawPayload !== undefined) {
    requireJson(event.rawPayload, { id, accessId: event.accessId });
  }
  const payload = event.rawPayload ?? JSON.stringify(event.payload);
  const head = JSON.stringify({ access_id: event.accessId, created_at: event.createdAt, id });
  return { id, text: `${head.slice(0, -1)},"payload":${payload}}` };
}

/** Other text could end the event and begin another one, which the server would append at each repetition. */
function requireJson(text: string, event: { readonly id: string; readonly accessId: string }): void {
  try {
    JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(0, 120) : String(error);
    const name = `event ${JSON.stringify(event.id)} of access_id ${JSON.stringify(event.accessId)}`;
    throw new TypeError(`the rawPayload of ${name} must be exactly one JSON value: ${reason}`, {
      cause: error,
    });
  }
}
