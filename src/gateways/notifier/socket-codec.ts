/** Messages of /subscribe_to_events ⇄ values. Pure, but for remembering frames it has already made. */
import { invalidField, type LastseenError, quote } from '../../errors.ts';
import { textFrame } from '../../http/frame.ts';
import { isJsonObject } from '../../json-text.ts';
import { createdAtFault, type Event, nameFault } from '../../log/event.ts';
import { eventJson } from '../../log/event-json.ts';
import type { Start } from '../../log/log.ts';

/** What a client may say. A first message also opens the connection, in one of two forms. */
export type ClientMessage =
  | {
      readonly type: 'legacy';
      readonly accessId: string;
      readonly timestamp: number;
      readonly token: string | undefined;
      readonly ticket: string | undefined;
    }
  | {
      readonly type: 'subscribe';
      readonly accessId: string;
      readonly start: Start;
      readonly token: string | undefined;
      readonly ticket: string | undefined;
    }
  | { readonly type: 'unsubscribe'; readonly accessId: string }
  | { readonly type: 'token'; readonly token: string };

/**
 * The first message, or `undefined` when it is none.
 * A message that names `after` is of the exact form: what is wrong with it is said.
 * @throws ERR_REQUEST_INVALID
 */
export function decodeFirst(text: string | undefined): ClientMessage | undefined {
  const message = parseObject(text);
  if (message === undefined) {
    return undefined;
  }
  const token = typeof message['token'] === 'string' ? message['token'] : undefined;
  const ticket = typeof message['ticket'] === 'string' ? message['ticket'] : undefined;
  if ('after' in message || 'type' in message) {
    return { ...decodeSubscribe(message), token, ticket };
  }
  const { access_id: accessId, timestamp } = message;
  if (nameFault(accessId) !== undefined || createdAtFault(timestamp) !== undefined) {
    return undefined;
  }
  return { type: 'legacy', accessId: accessId as string, timestamp: timestamp as number, token, ticket };
}

/** A later message of the exact form. @throws ERR_REQUEST_INVALID */
export function decodeNext(text: string | undefined): ClientMessage {
  const message = parseObject(text);
  if (message === undefined) {
    throw invalidField('', 'must be a JSON object');
  }
  switch (message['type']) {
    case 'subscribe':
      return { ...decodeSubscribe(message), token: undefined, ticket: undefined };
    case 'unsubscribe':
      return { type: 'unsubscribe', accessId: accessIdOf(message) };
    case 'token':
      if (typeof message['token'] === 'string') {
        return { type: 'token', token: message['token'] };
      }
      throw invalidField('/token', 'must be a string');
    default:
      throw invalidField(
        '/type',
        `must be "subscribe", "unsubscribe" or "token", got ${quote(message['type'])}`,
      );
  }
}

function decodeSubscribe(message: Record<string, unknown>): {
  type: 'subscribe';
  accessId: string;
  start: Start;
} {
  if (message['type'] !== undefined && message['type'] !== 'subscribe') {
    throw invalidField('/type', `the first message must be a subscription, got ${quote(message['type'])}`);
  }
  const accessId = accessIdOf(message);
  const { after, timestamp } = message;
  if (typeof after === 'string') {
    return { type: 'subscribe', accessId, start: { after } };
  }
  if (after === null && timestamp !== undefined) {
    const fault = createdAtFault(timestamp);
    if (fault !== undefined) {
      throw invalidField('/timestamp', fault);
    }
    return { type: 'subscribe', accessId, start: { createdAt: timestamp as number } };
  }
  throw invalidField(
    '/after',
    `must be a cursor, "start" or "now", or null beside a timestamp, got ${quote(after)}`,
  );
}

function accessIdOf(message: Record<string, unknown>): string {
  const fault = nameFault(message['access_id']);
  if (fault !== undefined) {
    throw invalidField('/access_id', fault);
  }
  return message['access_id'] as string;
}

function parseObject(text: string | undefined): Record<string, unknown> | undefined {
  if (text === undefined) {
    return undefined;
  }
  try {
    const value = JSON.parse(text) as unknown;
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Makes frames. One for the whole process, so that subscribers at the same place share them. */
export interface SocketEncoder {
  /** Every event of the array in a frame of the original's form. */
  legacyEvents(events: readonly Event[]): Buffer;
  events(accessId: string, events: readonly Event[]): Buffer;
}

export function createSocketEncoder(cursor: (position: number) => string): SocketEncoder {
  const exactFrames = new WeakMap<readonly Event[], Buffer>();
  const legacyFrames = new WeakMap<readonly Event[], Buffer>();
  return {
    legacyEvents: (events) =>
      cachedFrame(legacyFrames, events, () => textFrame(`[${events.map(legacyJson).join(',')}]`)),
    events: (accessId, events) =>
      cachedFrame(exactFrames, events, () => {
        const list = events.map((event) => eventJson(event, cursor)).join(',');
        return textFrame(`{"type":"events","access_id":${JSON.stringify(accessId)},"events":[${list}]}`);
      }),
  };
}

/** Any other frame of the exact form. */
export function jsonFrame(value: Readonly<Record<string, unknown>>): Buffer {
  return textFrame(JSON.stringify(value));
}

export function errorFrame(error: LastseenError, accessId: string | undefined): Buffer {
  return jsonFrame({
    type: 'error',
    code: error.code,
    detail: error.message,
    ...(accessId === undefined ? {} : { access_id: accessId }),
    ...(error.floor === undefined ? {} : { floor: error.floor }),
  });
}

function legacyJson(event: Event): string {
  return `{"accessid":${JSON.stringify(event.accessId)},"created_at":${event.createdAt},"payload":${event.payload}}`;
}

function cachedFrame(
  frames: WeakMap<readonly Event[], Buffer>,
  events: readonly Event[],
  encode: () => Buffer,
): Buffer {
  const cached = frames.get(events);
  if (cached !== undefined) {
    return cached;
  }
  const frame = encode();
  frames.set(events, frame);
  return frame;
}
