/**
 * Describes the notifier for the API documents. Codecs parse pushes and messages by hand for speed. The
 * schemas apply the same rules, and a test compares them with the codecs.
 */
import { z } from 'zod';
import { ERROR_CODES } from '../../errors.ts';
import { Cursor, type Description, Name, WireEvent } from '../../http/description.ts';
import { MAX_TRAIL } from '../../log/cursor.ts';
import { accessIdFault } from '../../log/event.ts';
import { CloudEvent } from './push-codec.ts';

const JSON_TYPE = 'application/json';

const AccessId = z
  .string()
  .refine((name) => accessIdFault(name) === undefined)
  .meta({ minLength: 1, maxLength: 256, pattern: '^[^$]' });

const event = {
  created_at: z
    .int()
    .meta({ description: 'by convention milliseconds since 1970; the server does not interpret it' }),
  payload: z
    .unknown()
    .refine((value) => value !== undefined)
    .meta({ description: 'any JSON value; the server keeps its text' }),
  id: Name.nullish().meta({ description: 'unique within its access_id; makes a retry safe' }),
};

/** An event of a push. */
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
  z.object({
    after: z.string().meta({ description: 'a cursor, "start" or "now"' }),
    trail: z.array(Cursor).max(MAX_TRAIL).optional().meta({
      description: 'older cursors of the client; the error of a refused cursor names the newest valid one',
    }),
  }),
  z.object({ after: z.null(), timestamp: z.int() }),
]);

/** Messages of a client. `Announcement` or `Subscribe` is the first message. */
export const Announcement = z.object({ access_id: Name, timestamp: z.int(), ...proof });
/** Subscribes in the exact form. */
export const Subscribe = z
  .object({ type: z.literal('subscribe').optional(), access_id: Name, ...proof })
  .and(start);
/** Ends a subscription. */
export const Unsubscribe = z.object({ type: z.literal('unsubscribe'), access_id: Name });
/** Replaces the token. */
export const NewToken = z.object({ type: z.literal('token'), token: z.string() });

const LegacyEvents = z.array(z.object({ accessid: Name, created_at: z.int(), payload: z.unknown() }));

/** The routes and the channel of the notifier. */
export const notifierDescription = {
  name: 'notifier',
  text: 'Pushes events, drops users, and delivers feeds over a WebSocket.',
  routes: {
    'POST /push_events': {
      summary: 'Appends a batch of events atomically, and responds after it is on disk',
      access: 'push',
      headers: {
        Prefer: '`return=representation`: the response contains the version and the cursor of each event',
        'Idempotency-Key': 'makes the retry of a batch without ids safe; 1 to 256 characters',
      },
      body: {
        [JSON_TYPE]: z.array(PushedEvent),
        'application/cloudevents-batch+json': z.array(CloudEvent),
        'application/cloudevents+json': CloudEvent,
      },
      answers: {
        200: { text: 'the batch is on disk', content: { [JSON_TYPE]: z.union([z.literal(true), Receipts]) } },
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
          revoke: z.boolean().optional().meta({ description: 'also revokes the tokens with this sub' }),
        }),
      },
      answers: { 200: { text: 'the drop is on disk', content: { [JSON_TYPE]: z.literal(true) } } },
      errors: [
        'ERR_BODY_MALFORMED',
        'ERR_REQUEST_INVALID',
        'ERR_TOO_LARGE',
        'ERR_MEDIA_TYPE',
        'ERR_STORE_UNAVAILABLE',
      ],
    },
    'GET /clients': {
      summary: 'Lists the connected clients of all nodes',
      access: 'admin',
      answers: {
        200: {
          text: 'an entry for each feed that a connection reads',
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
      summary: 'Delivers feeds over a WebSocket',
      text: 'The client sends the first message within 10 s, in at most 64 KiB. A first message with `timestamp` and without `after` selects the original form, in which the server sends arrays of events and no other frames. A first message with `after` selects the exact form, which has the other frames. The client can also send its token as a header or as the subprotocols `lastseen, lastseen.bearer.TOKEN`.',
      messages: {
        announcement: { from: 'client', summary: 'selects the original form', payload: Announcement },
        subscribe: {
          from: 'client',
          summary: 'selects the exact form, or subscribes to another feed',
          payload: Subscribe,
        },
        unsubscribe: { from: 'client', summary: 'ends a subscription', payload: Unsubscribe },
        newToken: { from: 'client', summary: 'replaces the token of the connection', payload: NewToken },
        originalEvents: {
          from: 'server',
          summary: 'events, in the original form',
          payload: LegacyEvents,
        },
        wrongAnnouncement: {
          from: 'server',
          summary: 'the first message is invalid; the server closes with 1008',
          payload: z.literal('Wrong JSON announcement'),
          contentType: 'text/plain',
        },
        subscribed: {
          from: 'server',
          summary: 'the start of the subscription and the current end of the feed',
          payload: z.object({
            type: z.literal('subscribed'),
            access_id: Name,
            cursor: Cursor,
            head: Cursor,
          }),
        },
        events: {
          from: 'server',
          summary: 'events in ascending order; a frame contains many events during catch-up',
          payload: z.object({ type: z.literal('events'), access_id: Name, events: z.array(WireEvent) }),
        },
        live: {
          from: 'server',
          summary: 'catch-up is complete; sent once for each subscription',
          payload: z.object({ type: z.literal('live'), access_id: Name, cursor: Cursor }),
        },
        heartbeat: {
          from: 'server',
          summary: 'sent at least every 25 s',
          payload: z.object({ type: z.literal('heartbeat'), cursors: z.record(z.string(), Cursor) }),
        },
        tokenExpiring: {
          from: 'server',
          summary: 'the token expires in `expires_in` seconds; the server then closes with 4001',
          payload: z.object({ type: z.literal('token_expiring'), expires_in: z.int() }),
        },
        tokenTaken: {
          from: 'server',
          summary: 'the server accepted the new token; `expires_in` null: it does not expire',
          payload: z.object({ type: z.literal('token'), expires_in: z.int().nullable() }),
        },
        error: {
          from: 'server',
          summary: 'the server refused a message; it closes the connection after a fatal error',
          payload: z.object({
            type: z.literal('error'),
            code: z.enum(ERROR_CODES),
            detail: z.string(),
            access_id: z.string().optional(),
            floor: Cursor.optional(),
            common: Cursor.optional(),
            common_by: z.enum(['term', 'trail']).optional(),
          }),
        },
      },
    },
  },
} as const satisfies Description;
