/**
 * Token endpoints: POST /oauth/token and /oauth/revoke for clients, /tokens and /oauth/clients for admins,
 * tickets for browsers, and the public keys for everyone. Responses with a secret carry `Cache-Control:
 * no-store`.
 */
import type { Request, Response } from 'express';
import { type ErrorCode, LastseenError } from '../../errors.ts';
import { requireMediaType } from '../../http/body.ts';
import { answerError } from '../../http/problem.ts';
import { pathParameter } from '../../http/routes.ts';
import type { ClientRecord } from '../../identity/client-store.ts';
import { PROVIDER_PREFIX } from '../../identity/principal.ts';
import { TICKET_SECONDS } from '../../identity/tickets.ts';
import { defineGateway, type PortsOf } from '../gateway.ts';
import {
  clientCredentials,
  clientJson,
  decodeClient,
  decodeGrant,
  decodeTokenRequest,
  issuedJson,
  narrowScope,
  requiredParameter,
  requireSubset,
  tokenJson,
} from './codec.ts';
import { oauthDescription } from './description.ts';

const needs = {
  ports: ['routes', 'guards', 'limits', 'bodies', 'tokens', 'clients', 'tickets', 'keys', 'errors'],
  settings: {},
} as const;

type OauthPorts = PortsOf<typeof needs>;

const MAX_BYTES = 32 * 1024;

const FORM = ['application/x-www-form-urlencoded'];

/** The gateway of tokens and clients. */
export const oauth = defineGateway({
  name: 'oauth',
  description: oauthDescription,
  needs,
  mount(ports) {
    const { guards, tokens, clients } = ports;
    ports.routes.serve(oauthDescription, {
      async 'POST /oauth/token'(request, response) {
        try {
          await issueForGrant(ports, request, response);
        } catch (error) {
          const userError = ports.errors.report(error);
          answerError(userError, { request, response }, oauthError(userError));
        }
      },
      'POST /oauth/revoke': (request, response) => revoke(ports, request, response),
      async 'GET /.well-known/jwks.json'(_request, response) {
        response.set('Cache-Control', 'public, max-age=60').json(await ports.keys.jwks());
      },

      async 'POST /tokens'(request, response) {
        const principal = await guards.authorize(request, 'admin');
        requireMediaType(request, ['application/json']);
        const tokenRequest = decodeTokenRequest(
          await ports.bodies.readJsonObject(request, { maxBytes: MAX_BYTES, principal }),
          principal,
        );
        requireSubset(principal, tokenRequest);
        noStore(response)
          .status(201)
          .json(issuedJson(await tokens.issue(tokenRequest)));
      },
      async 'GET /tokens'(request, response) {
        await guards.authorize(request, 'admin');
        noStore(response).json((await tokens.list()).map(tokenJson));
      },
      async 'DELETE /tokens/{jti}'(request, response) {
        await guards.authorize(request, 'admin');
        await tokens.revoke(pathParameter(request, 'jti'));
        response.status(204).end();
      },
      async 'POST /tokens/ticket'(request, response) {
        const principal = await guards.authorize(request, 'subscribe');
        ports.limits.countRequest(principal);
        const ticket = await ports.tickets.issue(principal);
        noStore(response).status(201).json({ ticket, expires_in: TICKET_SECONDS });
      },

      async 'POST /oauth/clients'(request, response) {
        const principal = await guards.authorize(request, 'admin');
        requireMediaType(request, ['application/json']);
        const client = await clients.create(
          decodeClient(await ports.bodies.readJsonObject(request, { maxBytes: MAX_BYTES, principal })),
        );
        noStore(response)
          .status(201)
          .json({ client_id: client.clientId, client_secret: client.clientSecret });
      },
      async 'GET /oauth/clients'(request, response) {
        await guards.authorize(request, 'admin');
        noStore(response).json((await clients.list()).map(clientJson));
      },
      async 'DELETE /oauth/clients/{id}'(request, response) {
        await guards.authorize(request, 'admin');
        await clients.remove(pathParameter(request, 'id'));
        response.status(204).end();
      },
    });
    return undefined;
  },
});

async function revoke(ports: OauthPorts, request: Request, response: Response): Promise<void> {
  requireMediaType(request, FORM);
  const form = new URLSearchParams(
    await ports.bodies.readText(request, { maxBytes: MAX_BYTES, principal: undefined }),
  );
  const client = await authenticateClient(ports, request, form);
  const token = requiredParameter(form, 'token');
  // An unknown token needs no revocation (RFC 7009 §2.2). The possession of an access token permits its
  // revocation.
  if (token.startsWith('lsr_')) {
    await ports.tokens.revokeRefresh(token, client?.clientId ?? null);
  } else {
    await revokeAccess(ports, token);
  }
  noStore(response).json({});
}

async function issueForGrant(ports: OauthPorts, request: Request, response: Response): Promise<void> {
  requireMediaType(request, FORM);
  const form = new URLSearchParams(
    await ports.bodies.readText(request, { maxBytes: MAX_BYTES, principal: undefined }),
  );
  const grantRequest = decodeGrant(form);
  const client = await authenticateClient(ports, request, form);
  if (grantRequest.type === 'refresh_token') {
    const issued = await ports.tokens.refresh(grantRequest.refreshToken, client?.clientId ?? null);
    noStore(response).json(issuedJson(issued));
    return;
  }
  if (client === undefined) {
    throw new LastseenError('ERR_CLIENT_INVALID', 'client_id and client_secret are required');
  }
  const issued = await ports.tokens.issue({
    subject: client.clientId,
    scope: narrowScope(client, grantRequest.scope),
    accessIds: client.accessIds,
    expiresInSeconds: 3_600,
    clientId: client.clientId,
  });
  noStore(response).json(issuedJson(issued));
}

/**
 * Authenticates the client of a request; `undefined` if the request contains no credentials. Wrong secrets
 * are rate-limited by address and by client.
 */
async function authenticateClient(
  { clients, limits }: OauthPorts,
  request: Request,
  form: URLSearchParams,
): Promise<ClientRecord | undefined> {
  const credentials = clientCredentials(request.headers.authorization, form);
  if (credentials === undefined) {
    return undefined;
  }
  const names = [`address ${request.socket.remoteAddress ?? ''}`, `client ${credentials.id}`];
  await limits.requireAttemptsLeft(names);
  try {
    return await clients.authenticate(credentials.id, credentials.secret);
  } catch (error) {
    await limits.recordFailure(names);
    throw error;
  }
}

async function revokeAccess({ guards, tokens }: OauthPorts, token: string): Promise<void> {
  let principal;
  try {
    principal = await guards.fromMessage({ token });
  } catch {
    return;
  }
  if (principal.jti !== null && !principal.jti.startsWith(PROVIDER_PREFIX)) {
    await tokens.revoke(principal.jti);
  }
}

const OAUTH_ERRORS: Readonly<Partial<Record<ErrorCode, string>>> = {
  ERR_CLIENT_INVALID: 'invalid_client',
  ERR_GRANT_INVALID: 'invalid_grant',
  ERR_REQUEST_INVALID: 'invalid_request',
  ERR_MEDIA_TYPE: 'invalid_request',
};

/** Returns the error name of RFC 6749 §5.2, if it has one. It is added to the problem document. */
function oauthError({ code, faults: [fault] }: LastseenError): { readonly error?: string } {
  const isGrantType = fault?.pointer === '/grant_type' && fault.detail === 'is not supported';
  const error = isGrantType ? 'unsupported_grant_type' : OAUTH_ERRORS[code];
  return error === undefined ? {} : { error };
}

function noStore(response: Response): Response {
  return response.set('Cache-Control', 'no-store').set('Pragma', 'no-cache');
}
