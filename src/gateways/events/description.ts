/** Describes the gateway for the API documents. */
import { z } from 'zod';
import { Cursor, type Description, Name, WireEvent } from '../../http/description.ts';
import { Query } from './codec.ts';

const Page = z.object({
  access_id: Name,
  events: z.array(WireEvent),
  cursor: Cursor,
  caught_up: z.boolean(),
});

/** The route and the channel of the gateway. */
export const eventsDescription = {
  name: 'events',
  text: 'Reads a feed in pages, by long polls or as an event stream.',
  routes: {
    'GET /events': {
      summary: 'Returns the events of an access_id after a cursor, in ascending order',
      access: 'subscribe',
      query: Query,
      headers: { 'Last-Event-ID': 'for event streams: a cursor that replaces `after`' },
      answers: {
        200: {
          text: 'a page; with `Accept: text/event-stream` a stream whose `id` is a cursor and whose `data` is an event',
          content: { 'application/json': Page, 'text/event-stream': z.string() },
        },
      },
      errors: [
        'ERR_REQUEST_INVALID',
        'ERR_CURSOR_MALFORMED',
        'ERR_NOT_ACCEPTABLE',
        'ERR_CURSOR_AHEAD',
        'ERR_CURSOR_DIVERGED',
        'ERR_CURSOR_EPOCH',
        'ERR_CURSOR_TOO_OLD',
        'ERR_LOG_REPLACED',
        'ERR_RATE_LIMITED',
        'ERR_QUEUE_FULL',
        'ERR_TOO_MANY_CONNECTIONS',
        'ERR_DRAINING',
      ],
    },
  },
  channels: {
    eventStream: {
      address: '/events',
      kind: 'event-stream',
      summary: 'Delivers a feed as an event stream',
      text: 'GET with `Accept: text/event-stream`, and with `access_id` and `after` in the query. Each record contains a cursor as `id` and one event as `data`. `Last-Event-ID` resumes the stream. The server sends a comment every 15 s.',
      messages: {
        event: { from: 'server', summary: 'an event, the data of a record', payload: WireEvent },
      },
    },
  },
} as const satisfies Description;
