/** What the two kinds of topics do: `notifications`, a user's own feed and what goes to all, and `events:ACCESS_ID`. */
import { LastseenError, quote } from '../../errors.ts';
import type { RateLimits } from '../../http/rate-limits.ts';
import { type Principal, requireAccess, requireScope } from '../../identity/principal.ts';
import { depthOf, MAX_DEPTH } from '../../json-text.ts';
import { accessIdFault, type Event, invalidEvents } from '../../log/event.ts';
import { eventJson } from '../../log/event-json.ts';
import type { Log } from '../../log/log.ts';
import { checkPayload, decodePushedObject } from '../../log/pushed-event.ts';
import type { Broadcasts } from './broadcasts.ts';
import { jsonPayload, type Payload, valueOf } from './codec.ts';

export interface TopicOptions {
  readonly log: Log;
  readonly limits: RateLimits;
  readonly broadcasts: Broadcasts;
  readonly maxPayloadBytes: number;
}

/** A topic as one socket has it. */
export interface Topic {
  /** Whose events it brings. */
  readonly accessId: string;
  /** The event of the wire that brings one, and its payload as JSON text. */
  readonly frameOf: (event: Event) => readonly [event: string, json: string];
  /** The payload of `live`, where the protocol has one. */
  readonly liveOf: (position: number) => Payload | undefined;
  /** Answers a client's event; `undefined` says nothing. @throws LastseenError, which becomes an error reply */
  readonly handle: (event: string, payload: Payload) => Promise<Payload | undefined>;
}

const EVENTS_PREFIX = 'events:';

/** Characters of a name that is shown to everybody. */
const MAX_NICKNAME_CHARACTERS = 256;

/** `undefined`: nothing is served under that name. @throws ERR_FORBIDDEN */
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
  const { log, limits, broadcasts } = options;

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
      `{"user_id":${JSON.stringify(accessId)},"message":${event.payload},"cursor":"${log.cursor(event.position)}",` +
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
    frameOf: (event) => ['event', eventJson(event, log.cursor)],
    liveOf: (position) => jsonPayload({ cursor: log.cursor(position) }),
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
        throw new LastseenError('ERR_INTERNAL', 'there is no receipt');
      }
      const { position, version, duplicate } = receipt;
      return jsonPayload({ cursor: log.cursor(position), version, duplicate });
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
    throw new LastseenError('ERR_REQUEST_INVALID', `a payload must not nest deeper than ${MAX_DEPTH - 1}`);
  }
  throw new LastseenError('ERR_TOO_LARGE', `a payload may have at most ${maxBytes} bytes, got ${bytes}`);
}

function unknownEvent(event: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `the event ${quote(event)} is not known on this topic`);
}
