/**
 * What this gateway serves, for the API documents. Pushes and messages are read by hand for speed; the schemas here judge by the same
 * rules, and a test holds them against the codecs.
 */
import { z } from 'zod';
import { ERROR_CODES } from '../../errors.ts';
import { Cursor, type Description, Name, WireEvent } from '../../http/description.ts';
import { accessIdFault } from '../../log/event.ts';
import { CloudEvent } from './push-codec.ts';

const JSON_TYPE = 'application/json';

const AccessId = z
  .string()
  .refine((name) => accessIdFault(name) === undefined)
  .meta({ minLength: 1, maxLength: 256, pattern: '^[^$]' });

const event = {
  created_at: z.int().meta({ description: 'by convention milliseconds since 1970; never interpreted' }),
  payload: z
    .unknown()
    .refine((value) => value !== undefined)
    .meta({ description: 'any JSON value; kept letter for letter' }),
  id: Name.nullish().meta({ description: 'unique within its access_id: makes it safe to repeat' }),
};

/** An event as it is pushed. */
export const PushedEvent = z
  .union([
    z.object({ accessid: AccessId, ...event }),
    z.object({ access_id: AccessId, accessid: z.never().optional(), ...event }),
  ])
  .meta({ id: 'PushedEvent' });

const Receipts = z.object({
  appended: z.int(),
  duplicates: z.int(),
  events: z.array(z.object({ access_id: Name, version: z.int(), cursor: Cursor, duplicate: z.boolean() })),
});

const ConnectedClient = z.object({
  access_id: Name,
  gateway: z.string(),
  since: z.int().meta({ description: 'milliseconds since 1970' }),
  cursor: Cursor,
  lag: z.int(),
  buffered_bytes: z.int(),
});

const proof = { token: z.string().optional(), ticket: z.string().optional() };
const start = z.union([
  z.object({ after: z.string().meta({ description: 'a cursor, "start" or "now"' }) }),
  z.object({ after: z.null(), timestamp: z.int() }),
]);

/** What a client may send: one of the first two opens the connection. */
export const Announcement = z.object({ access_id: Name, timestamp: z.int(), ...proof });
export const Subscribe = z
  .object({ type: z.literal('subscribe').optional(), access_id: Name, ...proof })
  .and(start);
export const Unsubscribe = z.object({ type: z.literal('unsubscribe'), access_id: Name });
export const NewToken = z.object({ type: z.literal('token'), token: z.string() });

const LegacyEvents = z.array(z.object({ accessid: Name, created_at: z.int(), payload: z.unknown() }));

export const notifierDescription = {
  name: 'notifier',
  text: 'Pushing events, dropping users, and following feeds over a WebSocket.',
  routes: {
    'POST /push_events': {
      summary: 'Appends a batch, whole or not at all; answered when it is on disk',
      access: 'push',
      headers: {
        Prefer: '`return=representation`: the answer names the place of each event',
        'Idempotency-Key': 'makes a batch without ids repeatable; 1 to 256 characters',
      },
      body: {
        [JSON_TYPE]: z.array(PushedEvent),
        'application/cloudevents-batch+json': z.array(CloudEvent),
        'application/cloudevents+json': CloudEvent,
      },
      answers: {
        200: { text: 'appended', content: { [JSON_TYPE]: z.union([z.literal(true), Receipts]) } },
      },
      errors: [
        'ERR_BODY_MALFORMED',
        'ERR_EVENT_INVALID',
        'ERR_REQUEST_INVALID',
        'ERR_ID_CONFLICT',
        'ERR_TOO_LARGE',
        'ERR_MEDIA_TYPE',
        'ERR_RATE_LIMITED',
        'ERR_QUEUE_FULL',
        'ERR_STORE_UNAVAILABLE',
        'ERR_DRAINING',
        'ERR_OUTCOME_UNKNOWN',
      ],
    },
    'POST /drop_user': {
      summary: 'Closes every connection of an access_id, on every node',
      access: 'drop',
      body: {
        [JSON_TYPE]: z.object({
          drop_access_id: Name,
          revoke: z.boolean().optional().meta({ description: 'also revoke the tokens whose sub it is' }),
        }),
      },
      answers: { 200: { text: 'told', content: { [JSON_TYPE]: z.literal(true) } } },
      errors: [
        'ERR_BODY_MALFORMED',
        'ERR_REQUEST_INVALID',
        'ERR_TOO_LARGE',
        'ERR_MEDIA_TYPE',
        'ERR_STORE_UNAVAILABLE',
      ],
    },
    'GET /clients': {
      summary: 'Who is connected, to any node',
      access: 'admin',
      answers: {
        200: {
          text: 'one for each feed that is read',
          content: { [JSON_TYPE]: z.array(ConnectedClient), 'text/plain': z.string() },
        },
      },
      errors: ['ERR_NOT_ACCEPTABLE'],
    },
  },
  channels: {
    subscribeToEvents: {
      address: '/subscribe_to_events',
      kind: 'websocket',
      summary: 'Feeds over a WebSocket',
      text: 'The first message, within 10 s and 64 KiB, chooses the form. An announcement with `timestamp` and without `after`: the original notifier, whose only frames are arrays of events. One with `after`: the exact form, with all the others. A token may also come as a header or as the subprotocols `lastseen, lastseen.bearer.TOKEN`.',
      messages: {
        announcement: { from: 'client', summary: 'opens the original form', payload: Announcement },
        subscribe: {
          from: 'client',
          summary: 'opens the exact form, or adds a feed to it',
          payload: Subscribe,
        },
        unsubscribe: { from: 'client', summary: 'ends a feed', payload: Unsubscribe },
        newToken: { from: 'client', summary: 'goes on with another token', payload: NewToken },
        originalEvents: {
          from: 'server',
          summary: 'events, in the original form',
          payload: LegacyEvents,
        },
        wrongAnnouncement: {
          from: 'server',
          summary: 'the first message was none; close 1008 follows',
          payload: z.literal('Wrong JSON announcement'),
          contentType: 'text/plain',
        },
        subscribed: {
          from: 'server',
          summary: 'where the feed begins and where it ends now',
          payload: z.object({
            type: z.literal('subscribed'),
            access_id: Name,
            cursor: Cursor,
            head: Cursor,
          }),
        },
        events: {
          from: 'server',
          summary: 'events, ascending; many a frame while catching up',
          payload: z.object({ type: z.literal('events'), access_id: Name, events: z.array(WireEvent) }),
        },
        live: {
          from: 'server',
          summary: 'once: catch-up has met the tail',
          payload: z.object({ type: z.literal('live'), access_id: Name, cursor: Cursor }),
        },
        heartbeat: {
          from: 'server',
          summary: 'at least every 25 s',
          payload: z.object({ type: z.literal('heartbeat'), cursors: z.record(z.string(), Cursor) }),
        },
        tokenExpiring: {
          from: 'server',
          summary: 'the token ends in so many seconds; close 4001 follows',
          payload: z.object({ type: z.literal('token_expiring'), expires_in: z.int() }),
        },
        tokenTaken: {
          from: 'server',
          summary: 'the new token holds; null: without end',
          payload: z.object({ type: z.literal('token'), expires_in: z.int().nullable() }),
        },
        error: {
          from: 'server',
          summary: 'something was refused; a close follows where it is fatal',
          payload: z.object({
            type: z.literal('error'),
            code: z.enum(ERROR_CODES),
            detail: z.string(),
            access_id: z.string().optional(),
            floor: Cursor.optional(),
          }),
        },
      },
    },
  },
} as const satisfies Description;
