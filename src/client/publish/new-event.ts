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
  const payload = payloadText(event, id);
  const head = JSON.stringify({ access_id: event.accessId, created_at: event.createdAt, id });
  return { id, text: `${head.slice(0, -1)},"payload":${payload}}` };
}

function payloadText(event: NewEvent, id: string): string {
  const name = `event ${JSON.stringify(id)} of access_id ${JSON.stringify(event.accessId)}`;
  // A caller in JavaScript can pass any value.
  const { payload, rawPayload }: { readonly payload?: unknown; readonly rawPayload?: unknown } = event;
  if (rawPayload !== undefined) {
    return checkedJson(rawPayload, name);
  }
  let text: unknown;
  try {
    text = JSON.stringify(payload);
  } catch (error) {
    throw new TypeError(`the payload of ${name} must be a JSON value: ${reasonOf(error)}`, { cause: error });
  }
  if (typeof text !== 'string') {
    throw new TypeError(`${name} must have a payload that is a JSON value, or a rawPayload`);
  }
  return text;
}

/** Other text could end the event and begin another one, which the server would append at each repetition. */
function checkedJson(text: unknown, name: string): string {
  if (typeof text !== 'string') {
    throw new TypeError(`the rawPayload of ${name} must be a string, got ${typeof text}`);
  }
  try {
    JSON.parse(text);
  } catch (error) {
    const message = `the rawPayload of ${name} must be exactly one JSON value: ${reasonOf(error)}`;
    throw new TypeError(message, { cause: error });
  }
  return text;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 120) : String(error);
}
