/**
 * The two kinds of topics: `notifications`, with the feed of the user and broadcasts, and `events:ACCESS_ID`.
 */
import { LastseenError, quote } from '../../errors.ts';
import type { RateLimits } from '../../http/rate-limits.ts';
import { type Principal, requireAccess, requireScope } from '../../identity/principal.ts';
import { depthOf, MAX_DEPTH } from '../../json-text.ts';
import { cursorOf } from '../../log/cursor.ts';
import { accessIdFault, invalidEvents, type LogEvent } from '../../log/event.ts';
import { eventJson } from '../../log/event-json.ts';
import type { Log } from '../../log/log.ts';
import type { Place } from '../../log/place.ts';
import { checkPayload, decodePushedObject } from '../../log/pushed-event.ts';
import type { Broadcasts } from './broadcasts.ts';
import { jsonPayload, type Payload, valueOf } from './codec.ts';

/** The log and the limits. */
export interface TopicOptions {
  readonly log: Log;
  readonly limits: RateLimits;
  readonly broadcasts: Broadcasts;
  readonly maxPayloadBytes: number;
}

/** A topic of one socket. */
export interface Topic {
  /** The access_id whose events the topic delivers. */
  readonly accessId: string;
  /** Returns the name and the payload (JSON text) of the wire event for an event of the log. */
  readonly frameOf: (event: LogEvent) => readonly [event: string, json: string];
  /** Returns the payload of `live`; `undefined` if the topic has no such event. */
  readonly liveOf: (place: Place) => Payload | undefined;
  /**
   * Handles an event of a client. Returns the response, or `undefined` for no reply.
   * @throws LastseenError, which becomes an error reply
   */
  readonly handle: (event: string, payload: Payload) => Promise<Payload | undefined>;
}

const EVENTS_PREFIX = 'events:';

/** Maximum characters of a nickname. */
const MAX_NICKNAME_CHARACTERS = 256;

/**
 * Returns the topic of a name; `undefined` for an unknown topic.
 * @throws ERR_FORBIDDEN
 */
export function topicOf(name: string, principal: Principal, options: TopicOptions): Topic | undefined {
  const isOwn = name === 'notifications';
  if (!isOwn && !(name.startsWith(EVENTS_PREFIX) && name.length > EVENTS_PREFIX.length)) {
    return undefined;
  }
  const accessId = isOwn ? principal.subject : name.slice(EVENTS_PREFIX.length);
  requireScope(principal, 'subscribe');
  requireAccess(principal, accessId);
  return isOwn ? notificationsTopic(accessId, principal, options) : feedTopic(accessId, principal, options);
}

function notificationsTopic(accessId: string, principal: Principal, options: TopicOptions): Topic {
  const { limits, broadcasts } = options;

  async function broadcast(event: string, payload: Payload): Promise<undefined> {
    limits.countEvents(principal, 1);
    requireFit(payload, options.maxPayloadBytes);
    await broadcasts.append(event, payload);
    return undefined;
  }

  return {
    accessId,
    frameOf: (event) => [
      'msg',
      `{"user_id":${JSON.stringify(accessId)},"message":${event.payload},"cursor":"${cursorOf(event)}",` +
        `"version":${event.version},"created_at":${event.createdAt}}`,
    ],
    liveOf: () => undefined,
    async handle(event, payload) {
      switch (event) {
        case 'ping':
          return payload;
        case 'pong':
          return undefined;
        case 'shout':
          return broadcast('shout', payload);
        case 'collected':
          return broadcast('collected-broadcast', nicknameOf(payload));
        case 'rally-completed':
          return broadcast('rally-completed', nicknameOf(payload));
        default:
          throw unknownEvent(event);
      }
    },
  };
}

function feedTopic(accessId: string, principal: Principal, options: TopicOptions): Topic {
  const { log, limits } = options;
  return {
    accessId,
    frameOf: (event) => ['event', eventJson(event)],
    liveOf: (place) => jsonPayload({ cursor: cursorOf(place) }),
    async handle(event, payload) {
      if (event !== 'push') {
        throw unknownEvent(event);
      }
      requireScope(principal, 'push');
      const faults: { pointer: string; detail: string }[] = [];
      const accessIdProblem = accessIdFault(accessId);
      if (accessIdProblem !== undefined) {
        throw new LastseenError('ERR_FORBIDDEN', `${quote(accessId)}: ${accessIdProblem}`);
      }
      const value = valueOf(payload);
      if (value === undefined || !('json' in payload)) {
        throw invalidEvents([{ pointer: '', detail: 'must be a JSON object' }]);
      }
      const report = (pointer: string, detail: string): void => void faults.push({ pointer, detail });
      const pushed = decodePushedObject({ value, text: payload.json, start: 0 }, report);
      if (pushed !== undefined) {
        checkPayload(pushed.payload, { maxBytes: options.maxPayloadBytes, pointer: '', report });
      }
      if (faults.length > 0 || pushed === undefined) {
        throw invalidEvents(faults);
      }
      limits.countEvents(principal, 1);
      const [receipt] = await log.append({
        events: [{ accessId, ...pushed }],
        key: null,
      });
      if (receipt === undefined) {
        throw new LastseenError('ERR_INTERNAL', 'the log returned no receipt');
      }
      const { version, duplicate } = receipt;
      return jsonPayload({ cursor: cursorOf(receipt), version, duplicate });
    },
  };
}

function nicknameOf(payload: Payload): Payload {
  const nickname = valueOf(payload)?.['nickname'];
  if (typeof nickname === 'string' && nickname.length <= MAX_NICKNAME_CHARACTERS) {
    return jsonPayload({ nickname });
  }
  throw new LastseenError(
    'ERR_REQUEST_INVALID',
    `\`nickname\` must be a string of at most ${MAX_NICKNAME_CHARACTERS} characters, got ${quote(nickname)}`,
  );
}

function requireFit(payload: Payload, maxBytes: number): void {
  const bytes = 'json' in payload ? Buffer.byteLength(payload.json) : payload.bytes.length;
  if (bytes <= maxBytes && !('json' in payload && depthOf(payload.json) >= MAX_DEPTH)) {
    return;
  }
  if (bytes <= maxBytes) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `the payload must not nest deeper than ${MAX_DEPTH - 1} levels`,
    );
  }
  throw new LastseenError('ERR_TOO_LARGE', `the payload must have at most ${maxBytes} bytes, got ${bytes}`);
}

function unknownEvent(event: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `this topic has no event ${quote(event)}`);
}
