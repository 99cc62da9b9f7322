/** What this gateway serves, for the API documents. */
import { z } from 'zod';
import { Cursor, type Description } from '../../http/description.ts';

const Numeric = z.looseObject({ eventType: z.int().min(0).max(10) });
const Named = z.looseObject({ type: z.string() });

export const usersSocketDescription = {
  name: 'users-socket',
  text: 'What happens to users, and the meta that applications keep beside them.',
  routes: {},
  channels: {
    usersSocket: {
      address: '/users/socket',
      kind: 'websocket',
      summary: 'The users socket, in its numeric and its named dialect',
      text: 'The first message decides the dialect: `eventType` or `type`. Third parties send the header `users-api-key`, users their token.',
      messages: {
        numericRequest: { from: 'client', summary: 'echo (10) or meta (9)', payload: Numeric },
        namedRequest: { from: 'client', summary: 'Echo or MetaRequest', payload: Named },
        resume: {
          from: 'client',
          summary: 'gives what came after a cursor',
          payload: z.object({ type: z.literal('resume'), after: Cursor }),
        },
        numericEvent: { from: 'server', summary: 'an answer, an event, or an error (0)', payload: Numeric },
        namedEvent: { from: 'server', summary: 'an answer, an event, or an error', payload: Named },
      },
    },
  },
} as const satisfies Description;
