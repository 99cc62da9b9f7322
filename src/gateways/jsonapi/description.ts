/** Describes the gateway for the API documents. */
import { z } from 'zod';
import type { Content, Description, RouteDescription } from '../../http/description.ts';
import { Create, MAX_PAGE, MEDIA_TYPE, Update } from './codec.ts';

const BASE = '/api/json/accounts/users';

const User = z
  .object({
    id: z.uuid(),
    type: z.literal('user'),
    attributes: z.object({
      nickname: z.string().nullable().optional(),
      stamps_collected: z.int().optional(),
    }),
    relationships: z.object({}),
    links: z.object({}),
    meta: z.object({}),
  })
  .meta({ id: 'User' });

const documentOf = (data: z.ZodType): Content => ({
  [MEDIA_TYPE]: z.object({
    data,
    jsonapi: z.object({ version: z.literal('1.0') }),
    links: z.record(z.string(), z.string().nullable()),
  }),
});

const errorContent: Content = {
  [MEDIA_TYPE]: z
    .object({
      errors: z.array(
        z.object({
          id: z.uuid(),
          status: z.string(),
          code: z.string(),
          title: z.string(),
          detail: z.string(),
          source: z.object({ pointer: z.string().optional(), parameter: z.string().optional() }).optional(),
        }),
      ),
      jsonapi: z.object({ version: z.literal('1.0') }),
    })
    .meta({ id: 'JsonApiErrors' }),
};

const Issued = z
  .object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int(),
    refresh_token: z.string(),
    scope: z.string(),
    jti: z.string(),
  })
  .meta({ id: 'UserToken' });

const ListQuery = z.object({
  'page[size]': z.string().optional().meta({ type: 'integer', minimum: 1, maximum: MAX_PAGE }),
  'page[after]': z.string().optional().meta({ description: 'a value from links.next' }),
  'filter[nickname]': z.string().optional(),
  'fields[user]': z.string().optional().meta({ description: 'fields of nickname,stamps_collected' }),
});

const path = { id: "the user's UUID" };

const body: readonly NonNullable<RouteDescription['errors']>[number][] = [
  'ERR_BODY_MALFORMED',
  'ERR_REQUEST_INVALID',
  'ERR_TOO_LARGE',
  'ERR_MEDIA_TYPE',
  'ERR_NOT_ACCEPTABLE',
  'ERR_RATE_LIMITED',
];

const read = ['ERR_NOT_ACCEPTABLE', 'ERR_RATE_LIMITED'] as const;

/** The routes of the gateway. */
export const jsonApiDescription = {
  name: 'users',
  text: 'Manages users over JSON:API 1.0.',
  routes: {
    [`POST ${BASE}`]: {
      summary: 'Registers a user',
      access: 'any',
      body: { [MEDIA_TYPE]: Create },
      answers: { 201: { text: 'the user', content: documentOf(User) } },
      errors: body,
      errorContent,
    },
    [`GET ${BASE}`]: {
      summary: 'Lists users in pages',
      access: 'admin',
      query: ListQuery,
      answers: {
        200: { text: 'a page; links.next is null on the last page', content: documentOf(z.array(User)) },
      },
      errors: ['ERR_REQUEST_INVALID', ...read],
      errorContent,
    },
    [`GET ${BASE}/{id}`]: {
      summary: "Returns a user. Requires an admin token or the user's own token",
      access: 'any',
      path,
      answers: { 200: { text: 'the user', content: documentOf(User) } },
      errors: ['ERR_FORBIDDEN', 'ERR_NOT_FOUND', ...read],
      errorContent,
    },
    [`PATCH ${BASE}/{id}`]: {
      summary: "Changes a user. Requires an admin token or the user's own token",
      access: 'any',
      path,
      body: { [MEDIA_TYPE]: Update },
      answers: { 200: { text: 'the changed user', content: documentOf(User) } },
      errors: ['ERR_FORBIDDEN', 'ERR_NOT_FOUND', 'ERR_ID_CONFLICT', 'ERR_CHANGED_MEANWHILE', ...body],
      errorContent,
    },
    [`DELETE ${BASE}/{id}`]: {
      summary: 'Removes a user, revokes its tokens and closes its connections',
      access: 'admin',
      path,
      answers: { 204: { text: 'the user is removed' } },
      errors: ['ERR_NOT_FOUND', ...read],
      errorContent,
    },
    [`POST ${BASE}/{id}/tokens`]: {
      summary: "Issues a token that reads the user's own access_id",
      access: 'admin',
      path,
      body: { 'application/json': z.object({ expires_in: z.int().min(1).max(86_400).optional() }) },
      answers: {
        201: {
          text: 'the tokens; the server does not return them again',
          content: { 'application/json': Issued },
        },
      },
      errors: ['ERR_NOT_FOUND', ...body],
      errorContent,
    },
  },
} as const satisfies Description;
