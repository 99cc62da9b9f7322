/** What this room says of itself: the frames of vsn 2.0.0. */
import { z } from 'zod';
import type { Description } from '../../http/description.ts';

const Ref = z.string().nullable();
const Topic = z.string().meta({ description: '`notifications`, or `events:ACCESS_ID`' });
const frame = (event: z.ZodType): z.ZodType =>
  z.tuple([Ref, Ref, Topic, event, z.record(z.string(), z.unknown())]);

export const phoenixDescription = {
  name: 'phoenix',
  text: 'Phoenix channels, for the official clients.',
  routes: {},
  channels: {
    phoenix: {
      address: '/socket/websocket',
      kind: 'websocket',
      summary: 'Phoenix channels, vsn 1.0.0 and 2.0.0',
      text: 'Each frame is `[join_ref, ref, topic, event, payload]`; binary frames carry bytes as payload. `userToken` in the query is the id of a registered user, or a token comes as `authToken`, header or subprotocol. `after` in the payload of a join resumes.',
      messages: {
        join: { from: 'client', summary: 'joins a topic', payload: frame(z.literal('phx_join')) },
        leave: { from: 'client', summary: 'leaves it', payload: frame(z.literal('phx_leave')) },
        heartbeat: {
          from: 'client',
          summary: 'on the topic `phoenix`',
          payload: frame(z.literal('heartbeat')),
        },
        clientEvent: {
          from: 'client',
          summary: 'an event of the topic',
          payload: frame(
            z.enum(['ping', 'pong', 'shout', 'collected', 'rally-completed', 'push', 'presence_update']),
          ),
        },
        reply: {
          from: 'server',
          summary: '`{status, response}`',
          payload: frame(z.literal('phx_reply')),
        },
        end: {
          from: 'server',
          summary: 'a channel is closed',
          payload: frame(z.enum(['phx_close', 'phx_error'])),
        },
        serverEvent: {
          from: 'server',
          summary: 'an event of the feed, of presence, or one that was broadcast',
          payload: frame(z.string()),
        },
      },
    },
  },
} as const satisfies Description;
