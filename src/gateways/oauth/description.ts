/** Describes the gateway for the API documents. */
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
  .meta({ id: 'Token', description: 'times in milliseconds since 1970, without the token itself' });

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

/** The routes of the gateway. */
export const oauthDescription = {
  name: 'oauth',
  text: 'Issues and revokes tokens, and manages clients (RFC 6749, RFC 7009).',
  routes: {
    'POST /oauth/token': {
      summary: 'Issues a token for client credentials or a refresh token. A refresh token works once',
      access: 'client',
      body: { [FORM]: Grant },
      answers: { 200: { text: 'the access token and the refresh token', content: { [JSON_TYPE]: Issued } } },
      errors: [
        'ERR_REQUEST_INVALID',
        'ERR_GRANT_INVALID',
        'ERR_CLIENT_INVALID',
        'ERR_MEDIA_TYPE',
        'ERR_RATE_LIMITED',
      ],
    },
    'POST /oauth/revoke': {
      summary: 'Revokes a token. An unknown token is not an error',
      access: 'client',
      body: { [FORM]: z.object({ token: z.string(), ...Credentials }) },
      answers: { 200: { text: 'the token is revoked or unknown', content: { [JSON_TYPE]: z.object({}) } } },
      errors: ['ERR_REQUEST_INVALID', 'ERR_CLIENT_INVALID', 'ERR_MEDIA_TYPE', 'ERR_RATE_LIMITED'],
    },
    'GET /.well-known/jwks.json': {
      summary: 'Returns the public keys that verify tokens',
      access: 'open',
      answers: {
        200: {
          text: 'a JSON Web Key Set (RFC 7517)',
          content: { [JSON_TYPE]: z.object({ keys: z.array(z.record(z.string(), z.unknown())) }) },
        },
      },
    },
    'POST /tokens': {
      summary: 'Issues a token',
      access: 'admin',
      body: { [JSON_TYPE]: TokenBody },
      answers: {
        201: { text: 'the tokens; the server does not return them again', content: { [JSON_TYPE]: Issued } },
      },
      errors: ['ERR_BODY_MALFORMED', 'ERR_REQUEST_INVALID', 'ERR_TOO_LARGE', 'ERR_MEDIA_TYPE'],
    },
    'GET /tokens': {
      summary: 'Lists the valid tokens',
      access: 'admin',
      answers: { 200: { text: 'the tokens, latest first', content: { [JSON_TYPE]: z.array(Token) } } },
    },
    'DELETE /tokens/{jti}': {
      summary: 'Revokes a token, and closes its connections on every node',
      access: 'admin',
      path: { jti: 'the jti of the token' },
      answers: { 204: { text: 'the token is revoked' } },
      errors: ['ERR_NOT_FOUND'],
    },
    'POST /tokens/ticket': {
      summary: 'Issues a ticket that opens one socket within 30 s',
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
      summary: 'Creates a client, the credentials of a connector',
      access: 'admin',
      body: { [JSON_TYPE]: ClientBody },
      answers: {
        201: {
          text: 'the credentials; the server does not return the secret again',
          content: { [JSON_TYPE]: z.object({ client_id: z.string(), client_secret: z.string() }) },
        },
      },
      errors: ['ERR_BODY_MALFORMED', 'ERR_REQUEST_INVALID', 'ERR_TOO_LARGE', 'ERR_MEDIA_TYPE'],
    },
    'GET /oauth/clients': {
      summary: 'Lists the clients, without their secrets',
      access: 'admin',
      answers: { 200: { text: 'the clients', content: { [JSON_TYPE]: z.array(Client) } } },
    },
    'DELETE /oauth/clients/{id}': {
      summary: 'Removes a client, and revokes its tokens',
      access: 'admin',
      path: { id: 'the client_id' },
      answers: { 204: { text: 'the client is removed' } },
      errors: ['ERR_NOT_FOUND'],
    },
  },
} as const satisfies Description;
