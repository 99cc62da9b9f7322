/**
 * Users over JSON:API at /api/json/accounts/users. Anybody with a token may register; an id is a credential, so only
 * admins list and look up; a user's own token may change the user.
 */
import type { Express, Request, Response } from 'express';
import { LastseenError } from '../../errors.ts';
import { parseJson, readJsonObject, readText, requireMediaType } from '../../http/body.ts';
import type { Guards } from '../../http/guards.ts';
import { statusOf, userError } from '../../http/problem.ts';
import type { Limits } from '../../http/rate-limits.ts';
import { type Principal, requireScope } from '../../identity/principal.ts';
import { DEFAULT_TOKEN_SECONDS, type Tokens } from '../../identity/tokens.ts';
import type { Users } from '../../identity/users.ts';
import type { Logger } from '../../logger.ts';
import {
  decodeCreate,
  decodeListQuery,
  decodeUpdate,
  document,
  errorDocument,
  MEDIA_TYPE,
  placeOf,
  requireAccept,
  requireContentType,
  resource,
} from './codec.ts';

export interface JsonApiOptions {
  readonly app: Express;
  readonly guards: Guards;
  readonly limits: Limits;
  readonly users: Users;
  readonly tokens: Tokens;
  readonly logger: Logger;
}

const BASE = '/api/json/accounts/users';
const MAX_BYTES = 16 * 1024;

type Handle = (request: Request<{ id: string }>, response: Response, holder: Principal) => Promise<void>;

export function mountJsonApi(options: JsonApiOptions): void {
  const { app, users } = options;
  const serve =
    (handle: Handle) =>
    (request: Request<{ id: string }>, response: Response): void => {
      const run = async (): Promise<void> => {
        const holder = await options.guards.authenticate(request);
        options.limits.takeRequest(holder);
        requireAccept(request.headers.accept);
        await handle(request, response, holder);
      };
      run().catch((error: unknown) => {
        answer(userError(error, options.logger), request, response);
      });
    };

  app.post(
    BASE,
    serve(async (request, response) => {
      const user = await users.register(decodeCreate(await body(request)));
      const self = `${BASE}/${user.id}`;
      response.setHeader('Location', self);
      send(response, 201, document(resource(user), { self: request.originalUrl }));
    }),
  );
  app.get(
    BASE,
    serve(async (request, response, holder) => {
      requireScope(holder, 'admin');
      const query = decodeListQuery(new URLSearchParams(request.originalUrl.split('?', 2)[1] ?? ''));
      const { limit, after, nickname } = query;
      const found = await users.list({
        limit: limit + 1,
        ...(after === undefined ? {} : { after }),
        ...(nickname === undefined ? {} : { nickname }),
      });
      const page = found.slice(0, limit);
      const last = page.at(-1);
      const next = found.length > limit && last !== undefined ? nextOf(request, placeOf(last)) : null;
      const data = page.map((user) => resource(user, query.fields));
      send(response, 200, document(data, { self: request.originalUrl, next }));
    }),
  );
  app.get(
    `${BASE}/:id`,
    serve(async (request, response, holder) => {
      requireOwner(holder, request.params.id);
      const user = await users.find(request.params.id);
      if (user === undefined) {
        throw new LastseenError(
          'ERR_NOT_FOUND',
          `No user record found with \`id: ${request.params.id.slice(0, 64)}\``,
        );
      }
      send(response, 200, document(resource(user), { self: request.originalUrl }));
    }),
  );
  app.patch(
    `${BASE}/:id`,
    serve(async (request, response, holder) => {
      requireOwner(holder, request.params.id);
      const user = await users.change(
        request.params.id,
        decodeUpdate(await body(request), request.params.id),
      );
      send(response, 200, document(resource(user), { self: request.originalUrl }));
    }),
  );
  app.delete(
    `${BASE}/:id`,
    serve(async (request, response, holder) => {
      requireScope(holder, 'admin');
      await users.remove(request.params.id);
      response.status(204).end();
    }),
  );
  app.post(
    `${BASE}/:id/tokens`,
    serve(async (request, response, holder) => {
      requireScope(holder, 'admin');
      const { id } = request.params;
      const seconds = await tokenSeconds(request);
      if ((await users.find(id)) === undefined) {
        throw new LastseenError('ERR_NOT_FOUND', `No user record found with \`id: ${id.slice(0, 64)}\``);
      }
      const issued = await options.tokens.issue({
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
    }),
  );
  app.all('/api/json/{*rest}', serve(notServed));
}

function notServed(request: Request<{ id: string }>): Promise<void> {
  const isKnown = /^\/api\/json\/accounts\/users(\/[^/]+)?\/?$/.test(request.path);
  return Promise.reject(
    isKnown
      ? new LastseenError('ERR_METHOD', 'this method is not served here')
      : new LastseenError('ERR_NOT_FOUND', 'no route found'),
  );
}

/** `{"expires_in":SECONDS}`, or nothing. */
async function tokenSeconds(request: Request<{ id: string }>): Promise<number> {
  if (request.headers['content-length'] === undefined || request.headers['content-length'] === '0') {
    return DEFAULT_TOKEN_SECONDS;
  }
  requireMediaType(request, ['application/json', MEDIA_TYPE]);
  const { expires_in: seconds = DEFAULT_TOKEN_SECONDS } = await readJsonObject(request, MAX_BYTES);
  if (Number.isInteger(seconds) && (seconds as number) > 0 && (seconds as number) <= 86_400) {
    return seconds as number;
  }
  const faults = [{ pointer: '/expires_in', detail: 'must be an integer from 1 to 86400' }];
  throw new LastseenError('ERR_REQUEST_INVALID', 'expires_in must be an integer from 1 to 86400', { faults });
}

function requireOwner(holder: Principal, id: string): void {
  if (holder.subject !== id) {
    requireScope(holder, 'admin');
  }
}

async function body(request: Request<{ id: string }>): Promise<unknown> {
  requireContentType(request.headers['content-type']);
  return parseJson(await readText(request, MAX_BYTES));
}

function nextOf(request: Request<{ id: string }>, place: string): string {
  const parameters = new URLSearchParams(request.originalUrl.split('?', 2)[1] ?? '');
  parameters.set('page[after]', place);
  return `${BASE}?${parameters.toString()}`;
}

function answer(error: LastseenError, request: Request<{ id: string }>, response: Response): void {
  const { status, title, headers } = statusOf(error);
  if (!request.complete) {
    response.setHeader('Connection', 'close');
  }
  response.set(headers);
  send(response, status, errorDocument(error, status, title));
}

function send(response: Response, status: number, text: string): void {
  response.statusCode = status;
  // Without a charset: JSON:API allows no parameters.
  response.setHeader('Content-Type', MEDIA_TYPE);
  response.setHeader('Cache-Control', 'no-store');
  response.end(text);
}
