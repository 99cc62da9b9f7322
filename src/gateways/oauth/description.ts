/** What this gateway serves, for the API documents. */
import { z } from 'zod';
import type { Description } from '../../http/description.ts';
import { ClientBody, TokenBody } from './codec.ts';

const FORM = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/json';

const Issued = z
  .object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int().meta({ description: 'seconds' }),
    refresh_token: z.string(),
    scope: z.string(),
    jti: z.string(),
  })
  .meta({ id: 'IssuedToken' });

const Token = z
  .object({
    jti: z.string(),
    sub: z.string(),
    scope: z.string(),
    access_ids: z.array(z.string()),
    client_id: z.string().nullable(),
    created_at: z.int(),
    expires_at: z.int(),
  })
  .meta({ id: 'Token', description: 'times in milliseconds since 1970; never the token itself' });

const Client = z
  .object({
    client_id: z.string(),
    name: z.string(),
    scope: z.string(),
    access_ids: z.array(z.string()),
    created_at: z.int(),
  })
  .meta({ id: 'Client' });

const Credentials = { client_id: z.string().optional(), client_secret: z.string().optional() };

const Grant = z.union([
  z.object({
    grant_type: z.literal('client_credentials'),
    scope: z.string().optional(),
    ...Credentials,
  }),
  z.object({ grant_type: z.literal('refresh_token'), refresh_token: z.string(), ...Credentials }),
]);

export const oauthDescription = {
  name: 'oauth',
  text: 'Tokens and the clients that get them (RFC 6749, RFC 7009).',
  routes: {
    'POST /oauth/token': {
      summary: 'A token for the credentials of a client, or for a refresh token, which works once',
      access: 'client',
      body: { [FORM]: Grant },
      answers: { 200: { text: 'the tokens', content: { [JSON_TYPE]: Issued } } },
      errors: [
        'ERR_REQUEST_INVALID',
        'ERR_GRANT_INVALID',
        'ERR_CLIENT_INVALID',
        'ERR_MEDIA_TYPE',
        'ERR_RATE_LIMITED',
      ],
    },
    'POST /oauth/revoke': {
      summary: 'Revokes a token, whether or not it is known',
      access: 'client',
      body: { [FORM]: z.object({ token: z.string(), ...Credentials }) },
      answers: { 200: { text: 'it holds no longer', content: { [JSON_TYPE]: z.object({}) } } },
      errors: ['ERR_REQUEST_INVALID', 'ERR_CLIENT_INVALID', 'ERR_MEDIA_TYPE', 'ERR_RATE_LIMITED'],
    },
    'GET /.well-known/jwks.json': {
      summary: 'The public keys that tokens are signed with',
      access: 'open',
      answers: {
        200: {
          text: 'RFC 7517',
          content: { [JSON_TYPE]: z.object({ keys: z.array(z.record(z.string(), z.unknown())) }) },
        },
      },
    },
    'POST /tokens': {
      summary: 'Issues a token',
      access: 'admin',
      body: { [JSON_TYPE]: TokenBody },
      answers: { 201: { text: 'shown once', content: { [JSON_TYPE]: Issued } } },
      errors: ['ERR_BODY_MALFORMED', 'ERR_REQUEST_INVALID', 'ERR_TOO_LARGE', 'ERR_MEDIA_TYPE'],
    },
    'GET /tokens': {
      summary: 'The tokens that hold',
      access: 'admin',
      answers: { 200: { text: 'latest first', content: { [JSON_TYPE]: z.array(Token) } } },
    },
    'DELETE /tokens/{jti}': {
      summary: 'Revokes a token; its connections close on every node',
      access: 'admin',
      path: { jti: 'of the token' },
      answers: { 204: { text: 'it holds no longer' } },
      errors: ['ERR_NOT_FOUND'],
    },
    'POST /tokens/ticket': {
      summary: 'A ticket that opens one socket, once, within 30 s',
      access: 'subscribe',
      answers: {
        201: {
          text: 'the ticket',
          content: { [JSON_TYPE]: z.object({ ticket: z.string(), expires_in: z.int() }) },
        },
      },
      errors: ['ERR_RATE_LIMITED'],
    },
    'POST /oauth/clients': {
      summary: 'Makes credentials for a connector',
      access: 'admin',
      body: { [JSON_TYPE]: ClientBody },
      answers: {
        201: {
          text: 'the secret is shown once',
          content: { [JSON_TYPE]: z.object({ client_id: z.string(), client_secret: z.string() }) },
        },
      },
      errors: ['ERR_BODY_MALFORMED', 'ERR_REQUEST_INVALID', 'ERR_TOO_LARGE', 'ERR_MEDIA_TYPE'],
    },
    'GET /oauth/clients': {
      summary: 'The clients, without their secrets',
      access: 'admin',
      answers: { 200: { text: 'all of them', content: { [JSON_TYPE]: z.array(Client) } } },
    },
    'DELETE /oauth/clients/{id}': {
      summary: 'Removes a client; its tokens hold no longer',
      access: 'admin',
      path: { id: 'the client_id' },
      answers: { 204: { text: 'it is gone' } },
      errors: ['ERR_NOT_FOUND'],
    },
  },
} as const satisfies Description;
