/**
 * Decodes requests of the token endpoints and encodes their responses (RFC 6749, RFC 7009, and JSON of our
 * own).
 */
import { z } from 'zod';
import { LastseenError, quote } from '../../errors.ts';
import type { ClientRecord } from '../../identity/client-store.ts';
import { MAX_TOKEN_SECONDS } from '../../identity/keys.ts';
import { isSubset, type Principal, SCOPES } from '../../identity/principal.ts';
import type { TokenRecord } from '../../identity/token-store.ts';
import { DEFAULT_TOKEN_SECONDS, type IssuedToken, type TokenRequest } from '../../identity/tokens.ts';
import { nameFault } from '../../log/event.ts';

const Scope = z
  .string()
  .min(1)
  .refine((text) => text.split(' ').every((part) => (SCOPES as readonly string[]).includes(part)), {
    error: `must contain scopes of "${SCOPES.join(' ')}", separated by spaces`,
  });

const AccessIds = z
  .array(
    z.string().refine((name) => nameFault(name) === undefined, {
      error: 'must be a name, or a prefix followed by "*"',
    }),
  )
  .min(1)
  .max(100);

/** The schema of the body of POST /tokens. */
export const TokenBody = z.strictObject({
  sub: z.string().min(1).max(256).optional(),
  scope: Scope,
  access_ids: AccessIds,
  expires_in: z.int().min(1).max(MAX_TOKEN_SECONDS).default(DEFAULT_TOKEN_SECONDS),
});

/** The schema of the body of POST /oauth/clients. */
export const ClientBody = z.strictObject({
  name: z.string().min(1).max(256),
  scope: Scope,
  access_ids: AccessIds,
});

/**
 * Decodes the body of POST /tokens. The default subject is that of the principal.
 * @throws ERR_REQUEST_INVALID naming the field
 */
export function decodeTokenRequest(body: Record<string, unknown>, principal: Principal): TokenRequest {
  const { sub, scope, access_ids: accessIds, expires_in: expiresInSeconds } = parse(TokenBody, body);
  return { subject: sub ?? principal.subject, scope, accessIds, expiresInSeconds, clientId: null };
}

/**
 * Decodes the body of POST /oauth/clients.
 * @throws ERR_REQUEST_INVALID naming the field
 */
export function decodeClient(
  body: Record<string, unknown>,
): Pick<ClientRecord, 'name' | 'scope' | 'accessIds'> {
  const { name, scope, access_ids: accessIds } = parse(ClientBody, body);
  return { name, scope, accessIds };
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) {
    return parsed.data;
  }
  const faults = parsed.error.issues.map((issue) => {
    const path = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''] : issue.path;
    return { pointer: path.map((part) => `/${String(part)}`).join(''), detail: issue.message };
  });
  const first = faults[0];
  throw new LastseenError('ERR_REQUEST_INVALID', `${first?.pointer ?? ''}: ${first?.detail ?? ''}`, {
    faults,
  });
}

/** A grant request at the token endpoint. */
export type Grant =
  | { readonly type: 'client_credentials'; readonly scope: string | undefined }
  | { readonly type: 'refresh_token'; readonly refreshToken: string };

/**
 * Decodes a grant request.
 * @throws ERR_REQUEST_INVALID
 */
export function decodeGrant(form: URLSearchParams): Grant {
  const type = requiredParameter(form, 'grant_type');
  if (type === 'client_credentials') {
    return { type, scope: optionalParameter(form, 'scope') };
  }
  if (type === 'refresh_token') {
    return { type, refreshToken: requiredParameter(form, 'refresh_token') };
  }
  throw new LastseenError(
    'ERR_REQUEST_INVALID',
    `grant_type must be client_credentials or refresh_token, got ${quote(type)}`,
    { faults: [{ pointer: '/grant_type', detail: 'is not supported' }] },
  );
}

/**
 * Returns a parameter of a form.
 * @throws ERR_REQUEST_INVALID unless it occurs once with a value
 */
export function requiredParameter(form: URLSearchParams, name: string): string {
  const values = form.getAll(name);
  if (values.length === 1 && values[0] !== undefined && values[0] !== '') {
    return values[0];
  }
  throw new LastseenError('ERR_REQUEST_INVALID', `${name} must occur once`, {
    faults: [{ pointer: `/${name}`, detail: 'must occur once' }],
  });
}

/**
 * Returns a parameter of a form, or `undefined` if the form does not contain it.
 * @throws ERR_REQUEST_INVALID if it occurs twice or is empty
 */
export function optionalParameter(form: URLSearchParams, name: string): string | undefined {
  return form.has(name) ? requiredParameter(form, name) : undefined;
}

/**
 * Returns the requested part of the scope of a client.
 * @throws ERR_GRANT_INVALID if the request exceeds it
 */
export function narrowScope(client: ClientRecord, requestedScope: string | undefined): string {
  if (requestedScope === undefined) {
    return client.scope;
  }
  const clientScopes = client.scope.split(' ');
  if (requestedScope.split(' ').every((part) => clientScopes.includes(part))) {
    return requestedScope;
  }
  throw new LastseenError(
    'ERR_GRANT_INVALID',
    `the scope must be part of "${client.scope}", got ${quote(requestedScope)}`,
  );
}

/** Returns the credentials of a client in `Authorization: Basic` (RFC 6749 §2.3.1) or in the form. */
export function clientCredentials(
  header: string | undefined,
  form: URLSearchParams,
): { readonly id: string; readonly secret: string } | undefined {
  const basic = /^Basic +([A-Za-z0-9+/=]+) *$/i.exec(header ?? '')?.[1];
  if (basic !== undefined) {
    const [id, ...rest] = Buffer.from(basic, 'base64').toString('utf8').split(':');
    const secret = rest.join(':');
    if (id === undefined || id === '' || secret === '') {
      return undefined;
    }
    try {
      return { id: decodeURIComponent(id), secret: decodeURIComponent(secret) };
    } catch {
      return undefined;
    }
  }
  const id = form.get('client_id');
  const secret = form.get('client_secret');
  return id === null || secret === null ? undefined : { id, secret };
}

/**
 * Checks that a token of the principal may issue the requested token.
 * @throws ERR_FORBIDDEN unless the principal has the requested scopes and access_ids
 */
export function requireSubset(principal: Principal, request: TokenRequest): void {
  if (principal.scopes.has('admin')) {
    return;
  }
  const hasScopes = request.scope.split(' ').every((part) => principal.scopes.has(part as never));
  const hasAccessIds = request.accessIds.every((name) => isSubset(name, principal.accessIds));
  if (hasScopes && hasAccessIds) {
    return;
  }
  throw new LastseenError('ERR_FORBIDDEN', 'the request exceeds the scopes or the access_ids of this token');
}

/** Converts an issued token to JSON. */
export function issuedJson(token: IssuedToken): Record<string, unknown> {
  return {
    access_token: token.accessToken,
    token_type: 'Bearer',
    expires_in: token.expiresInSeconds,
    refresh_token: token.refreshToken,
    scope: token.scope,
    jti: token.jti,
  };
}

/** Converts the record of a token to JSON. */
export function tokenJson(token: TokenRecord): Record<string, unknown> {
  return {
    jti: token.jti,
    sub: token.subject,
    scope: token.scope,
    access_ids: token.accessIds,
    client_id: token.clientId,
    created_at: token.createdAt,
    expires_at: token.expiresAt,
  };
}

/** Converts the record of a client to JSON. */
export function clientJson(client: ClientRecord): Record<string, unknown> {
  return {
    client_id: client.clientId,
    name: client.name,
    scope: client.scope,
    access_ids: client.accessIds,
    created_at: client.createdAt,
  };
}
