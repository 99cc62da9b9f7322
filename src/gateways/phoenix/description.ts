/** Describes the gateway for the API documents, with the frames of vsn 2.0.0. */
import { z } from 'zod';
import type { Description } from '../../http/description.ts';

const Ref = z.string().nullable();
const Topic = z.string().meta({ description: '`notifications`, or `events:ACCESS_ID`' });
const frame = (event: z.ZodType): z.ZodType =>
  z.tuple([Ref, Ref, Topic, event, z.record(z.string(), z.unknown())]);

/** The channel of the gateway. */
export const phoenixDescription = {
  name: 'phoenix',
  text: 'Serves Phoenix channels to the official clients.',
  routes: {},
  channels: {
    phoenix: {
      address: '/socket/websocket',
      kind: 'websocket',
      summary: 'Phoenix channels, vsn 1.0.0 and 2.0.0',
      text: 'A text frame is `[join_ref, ref, topic, event, payload]`. The payload of a binary frame is bytes. A client authenticates with `userToken` in the query, the id of a registered user, or with a token as `authToken`, header or subprotocol. `after` in the payload of a join resumes a feed.',
      messages: {
        join: { from: 'client', summary: 'joins a topic', payload: frame(z.literal('phx_join')) },
        leave: { from: 'client', summary: 'leaves a topic', payload: frame(z.literal('phx_leave')) },
        heartbeat: {
          from: 'client',
          summary: 'keeps the connection alive, on the topic `phoenix`',
          payload: frame(z.literal('heartbeat')),
        },
        clientEvent: {
          from: 'client',
          summary: 'an event for the topic',
          payload: frame(
            z.enum(['ping', 'pong', 'shout', 'collected', 'rally-completed', 'push', 'presence_update']),
          ),
        },
        reply: {
          from: 'server',
          summary: 'a reply `{status, response}`',
          payload: frame(z.literal('phx_reply')),
        },
        end: {
          from: 'server',
          summary: 'the end of a channel',
          payload: frame(z.enum(['phx_close', 'phx_error'])),
        },
        serverEvent: {
          from: 'server',
          summary: 'an event of the feed, an event of presence, or a broadcast',
          payload: frame(z.string()),
        },
      },
    },
  },
} as const satisfies Description;
