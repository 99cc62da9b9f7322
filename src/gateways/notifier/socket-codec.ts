/** Decodes and encodes messages of /subscribe_to_events. It caches encoded frames. */
import { cursorHints, invalidField, type LastseenError, quote } from '../../errors.ts';
import { textFrame } from '../../http/frame.ts';
import { isJsonObject } from '../../json-text.ts';
import { trailFault } from '../../log/cursor.ts';
import { createdAtFault, type LogEvent, nameFault } from '../../log/event.ts';
import { eventJson } from '../../log/event-json.ts';
import type { Start } from '../../log/start.ts';

/** A message of a client. A first message also selects one of the two forms. */
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
 * Decodes the first message; `undefined` if it is invalid. A message with `after` or `type` selects the exact
 * form, in which a fault throws.
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

/**
 * Decodes a later message of the exact form.
 * @throws ERR_REQUEST_INVALID
 */
export function decodeNext(text: string | undefined): ClientMessage {
  const message = parseObject(text);
  if (message === undefined) {
    throw invalidField('', `must be a JSON object, got ${quote(text)}`);
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
      throw invalidField('/token', `must be a string, got ${typeof message['token']}`);
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
    throw invalidField('/type', `must be "subscribe" in the first message, got ${quote(message['type'])}`);
  }
  const accessId = accessIdOf(message);
  const { after, timestamp, trail } = message;
  if (typeof after === 'string') {
    const fault = trail === undefined ? undefined : trailFault(trail);
    if (fault !== undefined) {
      throw invalidField('/trail', fault);
    }
    const start = trail === undefined ? { after } : { after, trail: trail as string[] };
    return { type: 'subscribe', accessId, start };
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
    `must be a cursor, "start", "now", or null with a timestamp, got ${quote(after)}`,
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

/**
 * Encodes event frames. One encoder serves the process, so that subscribers at the same position share a
 * frame.
 */
export interface SocketEncoder {
  /** Encodes events in the original form. */
  legacyEvents(events: readonly LogEvent[]): Buffer;
  /** Encodes events in the exact form. */
  events(accessId: string, events: readonly LogEvent[]): Buffer;
}

/** Creates an encoder. */
export function createSocketEncoder(): SocketEncoder {
  const exactFrames = new WeakMap<readonly LogEvent[], Buffer>();
  const legacyFrames = new WeakMap<readonly LogEvent[], Buffer>();
  return {
    legacyEvents: (events) =>
      cachedFrame(legacyFrames, events, () => textFrame(`[${events.map(legacyJson).join(',')}]`)),
    events: (accessId, events) =>
      cachedFrame(exactFrames, events, () => {
        const list = events.map(eventJson).join(',');
        return textFrame(`{"type":"events","access_id":${JSON.stringify(accessId)},"events":[${list}]}`);
      }),
  };
}

/** Encodes another frame of the exact form. */
export function jsonFrame(value: Readonly<Record<string, unknown>>): Buffer {
  return textFrame(JSON.stringify(value));
}

/** Encodes an error in the exact form. */
export function errorFrame(error: LastseenError, accessId: string | undefined): Buffer {
  return jsonFrame({
    type: 'error',
    code: error.code,
    detail: error.message,
    ...(accessId === undefined ? {} : { access_id: accessId }),
    ...cursorHints(error),
  });
}

function legacyJson(event: LogEvent): string {
  return `{"accessid":${JSON.stringify(event.accessId)},"created_at":${event.createdAt},"payload":${event.payload}}`;
}

function cachedFrame(
  frames: WeakMap<readonly LogEvent[], Buffer>,
  events: readonly LogEvent[],
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
