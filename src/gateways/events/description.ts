/** What this gateway serves, for the API documents. */
import { z } from 'zod';
import { Cursor, type Description, Name, WireEvent } from '../../http/description.ts';
import { Query } from './codec.ts';

const Page = z.object({
  access_id: Name,
  events: z.array(WireEvent),
  cursor: Cursor,
  caught_up: z.boolean(),
});

export const eventsDescription = {
  name: 'events',
  text: 'Reading a feed: in pages, by long polls, as an event stream.',
  routes: {
    'GET /events': {
      summary: 'Events of an access_id after a cursor, ascending',
      access: 'subscribe',
      query: Query,
      headers: { 'Last-Event-ID': 'of event streams: a cursor that wins over `after`' },
      answers: {
        200: {
          text: 'a page; with `Accept: text/event-stream` a stream whose `id` is the cursor and whose `data` is an event',
          content: { 'application/json': Page, 'text/event-stream': z.string() },
        },
      },
      errors: [
        'ERR_REQUEST_INVALID',
        'ERR_CURSOR_MALFORMED',
        'ERR_NOT_ACCEPTABLE',
        'ERR_CURSOR_AHEAD',
        'ERR_CURSOR_EPOCH',
        'ERR_CURSOR_TOO_OLD',
        'ERR_RATE_LIMITED',
        'ERR_TOO_MANY_CONNECTIONS',
        'ERR_DRAINING',
      ],
    },
  },
  channels: {
    eventStream: {
      address: '/events',
      kind: 'event-stream',
      summary: 'A feed as an event stream',
      text: 'GET with `Accept: text/event-stream`, `access_id` and `after` in the query. Each record has the cursor as `id` and one event as `data`; `Last-Event-ID` resumes. A comment comes every 15 s.',
      messages: {
        event: { from: 'server', summary: 'the data of a record', payload: WireEvent },
      },
    },
  },
} as const satisfies Description;
