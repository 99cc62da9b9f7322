/** What this gateway serves, for the API documents. */
import { z } from 'zod';
import type { Description } from '../../http/description.ts';

const TERM = 'application/x-erlang-binary';

const Term = z
  .string()
  .meta({ description: 'an Erlang term in the External Term Format, in a binary frame' });

export const fedecksDescription = {
  name: 'fedecks',
  text: 'Devices that speak Erlang terms.',
  routes: {},
  channels: {
    fedecks: {
      address: '/fedecks/websocket',
      kind: 'websocket',
      summary: 'Fedecks devices',
      text: 'The header `x-fedecks-auth` is a base64 map with the device id and credentials or a token; refusals are an empty 403. Every message is a binary frame with one term. The charlist `\'token_please\'` asks for a token, `%{"resume" => CURSOR}` for what came after a cursor; other terms are appended.',
      messages: {
        fromDevice: {
          from: 'client',
          summary: 'a request, or a term to append',
          payload: Term,
          contentType: TERM,
        },
        toDevice: {
          from: 'server',
          summary: 'a token, an event, or an answer',
          payload: Term,
          contentType: TERM,
        },
      },
    },
  },
} as const satisfies Description;
