/** Who a token says you are, and what it allows. */
import { LastseenError, shown } from '../errors.ts';
import { RESERVED_PREFIX } from '../log/event.ts';

export const SCOPES = ['push', 'subscribe', 'drop', 'query', 'admin'] as const;

export type Scope = (typeof SCOPES)[number];

export interface Principal {
  /** Stable name of the holder, for keys and the operator's log. Not a secret. */
  readonly subject: string;
  /** `admin` implies all. */
  readonly scopes: ReadonlySet<Scope>;
  /** Exact access_ids, or prefixes that end in `*`. */
  readonly accessIds: readonly string[];
  /** Names of what can be revoked: the token, all tokens refreshed from it, the client it was issued to. */
  readonly jti: string | null;
  readonly family: string | null;
  readonly clientId: string | null;
  /** Milliseconds since 1970. */
  readonly issuedAt: number;
  /** Milliseconds since 1970; `null` does not end. */
  readonly expiresAt: number | null;
}

/** A principal without a token behind it, unless `attributes` says otherwise: nothing to revoke, and no expiry. */
export function createPrincipal(attributes: Pick<Principal, 'subject'> & Partial<Principal>): Principal {
  return {
    scopes: new Set(),
    accessIds: [],
    jti: null,
    family: null,
    clientId: null,
    issuedAt: 0,
    expiresAt: null,
    ...attributes,
  };
}

const everything = (subject: string): Principal =>
  createPrincipal({ subject, scopes: new Set<Scope>(['admin']), accessIds: ['*'] });

/** The holder of the admin token. */
export const ADMIN: Principal = everything('admin');

/** Everybody, when authentication is open. */
export const ANYONE: Principal = everything('anyone');

/** Allows nothing. */
export const NOBODY: Principal = createPrincipal({ subject: 'nobody' });

/** @throws ERR_FORBIDDEN unless the principal has the scope. */
export function requireScope(principal: Principal, scope: Scope): void {
  if (principal.scopes.has(scope) || principal.scopes.has('admin')) {
    return;
  }
  throw new LastseenError('ERR_FORBIDDEN', `this token lacks the scope ${shown(scope)}`);
}

/** @throws ERR_FORBIDDEN unless the principal's access_ids cover this one. */
export function requireAccess(principal: Principal, accessId: string): void {
  if (principal.scopes.has('admin') || principal.accessIds.some((pattern) => covers(pattern, accessId))) {
    return;
  }
  throw new LastseenError('ERR_FORBIDDEN', `this token does not cover the access_id ${shown(accessId)}`);
}

/** True when every access_id that `narrow` names is also covered by `wide`. */
export function isSubset(narrow: string, wide: readonly string[]): boolean {
  return wide.some((pattern) => {
    if (!narrow.endsWith('*')) {
      return covers(pattern, narrow);
    }
    return pattern.endsWith('*') && narrow.startsWith(pattern.slice(0, -1)) && !isReserved(narrow, pattern);
  });
}

/** The service's own feeds are covered only by name, or by a prefix that names them. */
function covers(pattern: string, accessId: string): boolean {
  if (!pattern.endsWith('*')) {
    return pattern === accessId;
  }
  return accessId.startsWith(pattern.slice(0, -1)) && !isReserved(accessId, pattern);
}

function isReserved(accessId: string, pattern: string): boolean {
  return accessId.startsWith(RESERVED_PREFIX) && !pattern.startsWith(RESERVED_PREFIX);
}
