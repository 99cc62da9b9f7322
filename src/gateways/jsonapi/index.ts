/**
 * Users over JSON:API at /api/json/accounts/users. A client with any token may register a user. The id of a
 * user is a credential, so listing and looking up other users requires the scope `admin`. The token of a user
 * may read and change that user.
 */
import type { Request, Response } from 'express';
import { invalidField, LastseenError, quote } from '../../errors.ts';
import { parseJson, requireMediaType } from '../../http/body.ts';
import { statusOf } from '../../http/problem.ts';
import { type Handler, pathParameter } from '../../http/routes.ts';
import { NOBODY, type Principal, requireScope } from '../../identity/principal.ts';
import { DEFAULT_TOKEN_SECONDS } from '../../identity/tokens.ts';
import { defineGateway, type PortsOf } from '../gateway.ts';
import {
  decodeCreate,
  decodeListQuery,
  decodeUpdate,
  documentOf,
  errorDocument,
  MEDIA_TYPE,
  pageCursorOf,
  requireAccept,
  requireContentType,
  resourceOf,
} from './codec.ts';
import { jsonApiDescription } from './description.ts';

const needs = {
  ports: ['routes', 'guards', 'limits', 'bodies', 'users', 'tokens', 'errors', 'runtime'],
  settings: {},
} as const;

type JsonApiPorts = PortsOf<typeof needs>;

const PREFIX = '/api/json';
const BASE = `${PREFIX}/accounts/users`;
const MAX_BYTES = 16 * 1024;

/** The JSON:API gateway. */
export const jsonApi = defineGateway({
  name: 'jsonapi',
  description: jsonApiDescription,
  needs,
  mount(ports) {
    const { routes, users } = ports;
    const principals = new WeakMap<Request, Principal>();
    const principalOf = (request: Request): Principal => principals.get(request) ?? NOBODY;

    const readBody = async (request: Request): Promise<unknown> => {
      requireContentType(request.headers['content-type']);
      const principal = principalOf(request);
      return parseJson(await ports.bodies.readText(request, { maxBytes: MAX_BYTES, principal }));
    };

    /** Authenticates each request, and converts each error to a JSON:API document. */
    const wrap =
      (handler: Handler): Handler =>
      async (request, response) => {
        try {
          const principal = await ports.guards.authenticate(request);
          principals.set(request, principal);
          ports.limits.countRequest(principal);
          requireAccept(request.headers.accept);
          await handler(request, response);
        } catch (error) {
          answerError(ports, error, { request, response });
        }
      };

    routes.serve(
      jsonApiDescription,
      {
        async 'POST /api/json/accounts/users'(request, response) {
          const user = await users.register(decodeCreate(await readBody(request)));
          response.setHeader('Location', `${BASE}/${user.id}`);
          send(response, 201, documentOf(resourceOf(user), { self: request.originalUrl }));
        },
        async 'GET /api/json/accounts/users'(request, response) {
          requireScope(principalOf(request), 'admin');
          await sendList(ports, request, response);
        },
        async 'GET /api/json/accounts/users/{id}'(request, response) {
          const id = pathParameter(request, 'id');
          requireOwner(principalOf(request), id);
          const user = await users.find(id);
          if (user === undefined) {
            throw unknownUser(id);
          }
          send(response, 200, documentOf(resourceOf(user), { self: request.originalUrl }));
        },
        async 'PATCH /api/json/accounts/users/{id}'(request, response) {
          const id = pathParameter(request, 'id');
          requireOwner(principalOf(request), id);
          const user = await users.update(id, decodeUpdate(await readBody(request), id));
          send(response, 200, documentOf(resourceOf(user), { self: request.originalUrl }));
        },
        async 'DELETE /api/json/accounts/users/{id}'(request, response) {
          requireScope(principalOf(request), 'admin');
          await users.remove(pathParameter(request, 'id'));
          response.status(204).end();
        },
        async 'POST /api/json/accounts/users/{id}/tokens'(request, response) {
          requireScope(principalOf(request), 'admin');
          await issueToken({ ...ports, principal: principalOf(request) }, request, response);
        },
      },
      { wrap },
    );
    routes.fallback(
      PREFIX,
      wrap(() => {
        throw new LastseenError('ERR_NOT_FOUND', 'no route matches this path');
      }),
    );
    return undefined;
  },
});

async function sendList({ users }: JsonApiPorts, request: Request, response: Response): Promise<void> {
  const query = decodeListQuery(new URLSearchParams(request.originalUrl.split('?', 2)[1] ?? ''));
  const { limit, after, nickname } = query;
  const found = await users.list({
    limit: limit + 1,
    ...(after === undefined ? {} : { after }),
    ...(nickname === undefined ? {} : { nickname }),
  });
  const page = found.slice(0, limit);
  const last = page.at(-1);
  const next = found.length > limit && last !== undefined ? nextOf(request, pageCursorOf(last)) : null;
  const data = page.map((user) => resourceOf(user, query.fields));
  send(response, 200, documentOf(data, { self: request.originalUrl, next }));
}

async function issueToken(
  ports: JsonApiPorts & { readonly principal: Principal },
  request: Request,
  response: Response,
): Promise<void> {
  const id = pathParameter(request, 'id');
  const seconds = await tokenSeconds(ports, request);
  if ((await ports.users.find(id)) === undefined) {
    throw unknownUser(id);
  }
  const issued = await ports.tokens.issue({
    subject: id,
    scope: 'subscribe',
    accessIds: [id],
    expiresInSeconds: seconds,
    clientId: null,
  });
  response.status(201).set('Cache-Control', 'no-store').json({
    access_token: issued.accessToken,
    token_type: 'Bearer',
    expires_in: issued.expiresInSeconds,
    refresh_token: issued.refreshToken,
    scope: issued.scope,
    jti: issued.jti,
  });
}

function unknownUser(id: string): LastseenError {
  return new LastseenError('ERR_NOT_FOUND', `No user record found with \`id: ${id.slice(0, 64)}\``);
}

/** Reads the optional body `{"expires_in":SECONDS}`. */
async function tokenSeconds(
  { bodies, principal }: JsonApiPorts & { readonly principal: Principal },
  request: Request,
): Promise<number> {
  if (request.headers['content-length'] === undefined || request.headers['content-length'] === '0') {
    return DEFAULT_TOKEN_SECONDS;
  }
  requireMediaType(request, ['application/json', MEDIA_TYPE]);
  const { expires_in: seconds = DEFAULT_TOKEN_SECONDS } = await bodies.readJsonObject(request, {
    maxBytes: MAX_BYTES,
    principal,
  });
  if (Number.isInteger(seconds) && (seconds as number) > 0 && (seconds as number) <= 86_400) {
    return seconds as number;
  }
  throw invalidField('/expires_in', `must be an integer from 1 to 86400, got ${quote(seconds)}`);
}

function requireOwner(principal: Principal, id: string): void {
  if (principal.subject !== id) {
    requireScope(principal, 'admin');
  }
}

function nextOf(request: Request, pageCursor: string): string {
  const parameters = new URLSearchParams(request.originalUrl.split('?', 2)[1] ?? '');
  parameters.set('page[after]', pageCursor);
  return `${BASE}?${parameters.toString()}`;
}

function answerError(
  { errors, runtime }: JsonApiPorts,
  error: unknown,
  { request, response }: { readonly request: Request; readonly response: Response },
): void {
  const userError = errors.report(error);
  const { status, title, headers } = statusOf(userError);
  if (!request.complete) {
    response.setHeader('Connection', 'close');
  }
  response.set(headers);
  send(response, status, errorDocument(userError, { status, title, newId: runtime.random.uuid }));
}

function send(response: Response, status: number, text: string): void {
  response.statusCode = status;
  // The media type has no charset: JSON:API allows no parameters.
  response.setHeader('Content-Type', MEDIA_TYPE);
  response.setHeader('Cache-Control', 'no-store');
  response.end(text);
}
