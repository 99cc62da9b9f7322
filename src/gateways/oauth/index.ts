/**
 * Tokens: POST /oauth/token and /oauth/revoke for clients, /tokens and /oauth/clients for admins, tickets for browsers,
 * the public keys for everybody. Answers that hold a secret are never stored by anyone on the way.
 */
import type { Express, Request, Response } from 'express';
import { LastseenError } from '../../errors.ts';
import { readJsonObject, readText, requireMediaType } from '../../http/body.ts';
import type { Guards } from '../../http/guards.ts';
import { answerError } from '../../http/problem.ts';
import type { Limits } from '../../http/rate-limits.ts';
import type { ClientRecord } from '../../identity/client-store.ts';
import type { Clients } from '../../identity/clients.ts';
import type { Keys } from '../../identity/keys.ts';
import { TICKET_SECONDS, type Tickets } from '../../identity/tickets.ts';
import type { Tokens } from '../../identity/tokens.ts';
import type { Logger } from '../../logger.ts';
import {
  clientCredentials,
  clientJson,
  decodeClient,
  decodeGrant,
  decodeTokenRequest,
  issuedJson,
  narrowed,
  requireWithin,
  single,
  tokenJson,
} from './codec.ts';

export interface OauthOptions {
  readonly app: Express;
  readonly guards: Guards;
  readonly limits: Limits;
  readonly tokens: Tokens;
  readonly clients: Clients;
  readonly tickets: Tickets;
  readonly keys: Keys;
  readonly logger: Logger;
}

const MAX_BYTES = 32 * 1024;

const FORM = ['application/x-www-form-urlencoded'];

export function mountOauth(options: OauthOptions): void {
  const { app, guards, tokens, clients } = options;

  app.post('/oauth/token', (request, response) => {
    grant(options, request, response).catch((error: unknown) => {
      answerOauth(error, request, response, options.logger);
    });
  });
  app.post('/oauth/revoke', async (request, response) => {
    requireMediaType(request, FORM);
    const form = new URLSearchParams(await readText(request, MAX_BYTES));
    const client = await authenticated(options, request, form);
    const token = single(form, 'token');
    // What is not known is over already (RFC 7009 §2.2). An access token is revoked by its holder's own right.
    if (token.startsWith('lsr_')) {
      await tokens.revokeRefresh(token, client?.clientId ?? null);
    } else {
      await revokeAccess(options, token);
    }
    noStore(response).json({});
  });
  app.get('/.well-known/jwks.json', async (_request, response) => {
    response.set('Cache-Control', 'public, max-age=60').json(await options.keys.jwks());
  });

  app.post('/tokens', async (request, response) => {
    const holder = await guards.authorize(request, 'admin');
    requireMediaType(request, ['application/json']);
    const wanted = decodeTokenRequest(await readJsonObject(request, MAX_BYTES), holder);
    requireWithin(holder, wanted);
    noStore(response)
      .status(201)
      .json(issuedJson(await tokens.issue(wanted)));
  });
  app.get('/tokens', async (request, response) => {
    await guards.authorize(request, 'admin');
    noStore(response).json((await tokens.list()).map(tokenJson));
  });
  app.delete('/tokens/:jti', async (request, response) => {
    await guards.authorize(request, 'admin');
    await tokens.revoke(request.params.jti);
    response.status(204).end();
  });
  app.post('/tokens/ticket', async (request, response) => {
    const holder = await guards.authorize(request, 'subscribe');
    options.limits.takeRequest(holder);
    const ticket = await options.tickets.issue(holder);
    noStore(response).status(201).json({ ticket, expires_in: TICKET_SECONDS });
  });

  app.post('/oauth/clients', async (request, response) => {
    await guards.authorize(request, 'admin');
    requireMediaType(request, ['application/json']);
    const made = await clients.create(decodeClient(await readJsonObject(request, MAX_BYTES)));
    noStore(response).status(201).json({ client_id: made.clientId, client_secret: made.clientSecret });
  });
  app.get('/oauth/clients', async (request, response) => {
    await guards.authorize(request, 'admin');
    noStore(response).json((await clients.list()).map(clientJson));
  });
  app.delete('/oauth/clients/:id', async (request, response) => {
    await guards.authorize(request, 'admin');
    await clients.remove(request.params.id);
    response.status(204).end();
  });

  for (const [path, allowed] of [
    ['/oauth/token', 'POST'],
    ['/oauth/revoke', 'POST'],
    ['/.well-known/jwks.json', 'GET'],
    ['/tokens', 'GET, POST'],
    ['/tokens/ticket', 'POST'],
    ['/tokens/:jti', 'DELETE'],
    ['/oauth/clients', 'GET, POST'],
    ['/oauth/clients/:id', 'DELETE'],
  ] as const) {
    app.all(path, (_request, response) => {
      response.setHeader('Allow', allowed);
      throw new LastseenError('ERR_METHOD', `only ${allowed} is served here`);
    });
  }
}

async function grant(options: OauthOptions, request: Request, response: Response): Promise<void> {
  requireMediaType(request, FORM);
  const form = new URLSearchParams(await readText(request, MAX_BYTES));
  const wanted = decodeGrant(form);
  const client = await authenticated(options, request, form);
  if (wanted.type === 'refresh_token') {
    const issued = await options.tokens.refresh(wanted.refreshToken, client?.clientId ?? null);
    noStore(response).json(issuedJson(issued));
    return;
  }
  if (client === undefined) {
    throw new LastseenError('ERR_CLIENT_INVALID', 'client_id and client_secret are needed');
  }
  const issued = await options.tokens.issue({
    subject: client.clientId,
    scope: narrowed(client, wanted.scope),
    accessIds: client.accessIds,
    expiresInSeconds: 3_600,
    clientId: client.clientId,
  });
  noStore(response).json(issuedJson(issued));
}

/** The client that the request names, if it names one. Wrong secrets are slowed by address and by client. */
async function authenticated(
  { clients, limits }: OauthOptions,
  request: Request,
  form: URLSearchParams,
): Promise<ClientRecord | undefined> {
  const given = clientCredentials(request.headers.authorization, form);
  if (given === undefined) {
    return undefined;
  }
  const names = [`address ${request.socket.remoteAddress ?? ''}`, `client ${given.id}`];
  await limits.checkAttempts(names);
  try {
    return await clients.authenticate(given.id, given.secret);
  } catch (error) {
    await limits.failed(names);
    throw error;
  }
}

async function revokeAccess({ guards, tokens }: OauthOptions, token: string): Promise<void> {
  let holder;
  try {
    holder = await guards.fromMessage({ token });
  } catch {
    return;
  }
  if (holder.jti !== null && !holder.jti.startsWith('outside:')) {
    await tokens.revoke(holder.jti);
  }
}

/** RFC 6749 §5.2 names its errors; the problem stands beside them. */
function answerOauth(error: unknown, request: Request, response: Response, logger: Logger): void {
  const names: Readonly<Record<string, string>> = {
    ERR_CLIENT_INVALID: 'invalid_client',
    ERR_GRANT_INVALID: 'invalid_grant',
    ERR_REQUEST_INVALID: 'invalid_request',
    ERR_MEDIA_TYPE: 'invalid_request',
  };
  let name = error instanceof LastseenError ? names[error.code] : undefined;
  if (
    error instanceof LastseenError &&
    error.faults[0]?.pointer === '/grant_type' &&
    error.faults[0].detail === 'is not supported'
  ) {
    name = 'unsupported_grant_type';
  }
  answerError(error, request, response, logger, name === undefined ? {} : { error: name });
}

function noStore(response: Response): Response {
  return response.set('Cache-Control', 'no-store').set('Pragma', 'no-cache');
}
