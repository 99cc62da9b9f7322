/** Describes the gateway for the API documents. */
import { z } from 'zod';
import { Cursor, type Description } from '../../http/description.ts';

const Numeric = z.looseObject({ eventType: z.int().min(0).max(10) });
const Named = z.looseObject({ type: z.string() });

/** The channel of the gateway. */
export const usersSocketDescription = {
  name: 'users-socket',
  text: 'Delivers events of users, and stores metadata of users for applications.',
  routes: {},
  channels: {
    usersSocket: {
      address: '/users/socket',
      kind: 'websocket',
      summary: 'The users socket, in a numeric and a named dialect',
      text: 'The first message selects the dialect: `eventType` or `type`. A third party sends the header `users-api-key`. A user sends its token.',
      messages: {
        numericRequest: { from: 'client', summary: 'an echo (10) or a meta request (9)', payload: Numeric },
        namedRequest: { from: 'client', summary: 'an Echo or a MetaRequest', payload: Named },
        resume: {
          from: 'client',
          summary: 'requests the events after a cursor',
          payload: z.object({ type: z.literal('resume'), after: Cursor }),
        },
        numericEvent: { from: 'server', summary: 'a reply, an event, or an error (0)', payload: Numeric },
        namedEvent: { from: 'server', summary: 'a reply, an event, or an error', payload: Named },
      },
    },
  },
} as const satisfies Description;
