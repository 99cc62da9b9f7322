/** Describes the gateway for the API documents. */
import { z } from 'zod';
import type { Description } from '../../http/description.ts';

const TERM = 'application/x-erlang-binary';

const Term = z
  .string()
  .meta({ description: 'an Erlang term in the External Term Format, in a binary frame' });

/** The channel of the gateway. */
export const fedecksDescription = {
  name: 'fedecks',
  text: 'Serves Fedecks devices, which exchange Erlang terms.',
  routes: {},
  channels: {
    fedecks: {
      address: '/fedecks/websocket',
      kind: 'websocket',
      summary: 'Fedecks devices',
      text: 'The header `x-fedecks-auth` contains a map in base64 with the device id and with credentials or a token. A refusal is an empty 403. Every message is a binary frame with one term. The charlist `\'token_please\'` requests a token. `%{"resume" => CURSOR}` requests the events after a cursor. The server appends other terms.',
      messages: {
        fromDevice: {
          from: 'client',
          summary: 'a request, or a term to append',
          payload: Term,
          contentType: TERM,
        },
        toDevice: {
          from: 'server',
          summary: 'a token, an event, or a reply',
          payload: Term,
          contentType: TERM,
        },
      },
    },
  },
} as const satisfies Description;
