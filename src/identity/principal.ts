/** The principal: who a token says you are, and what it allows. */
import { LastseenError, quote } from '../errors.ts';
import { RESERVED_PREFIX } from '../log/event.ts';

export const SCOPES = ['push', 'subscribe', 'drop', 'query', 'admin'] as const;

export type Scope = (typeof SCOPES)[number];

export interface Principal {
  /** Stable name of the principal, for keys and the operator's log. Not a secret. */
  readonly subject: string;
  /** `admin` implies all. */
  readonly scopes: ReadonlySet<Scope>;
  /** Exact access_ids, or prefixes that end in `*`. */
  readonly accessIds: readonly string[];
  /** What a revocation can name: the token, its family (all tokens refreshed from one another), and its client. */
  readonly jti: string | null;
  readonly family: string | null;
  readonly clientId: string | null;
  /** Milliseconds since 1970. */
  readonly issuedAt: number;
  /** Milliseconds since 1970; `null` does not expire. */
  readonly expiresAt: number | null;
}

/** Creates a principal. What `attributes` leaves out: no scope, no access_id, nothing to revoke, no expiry. */
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

/** Who brings the admin token. */
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
  throw new LastseenError('ERR_FORBIDDEN', `the token lacks the scope ${quote(scope)}`);
}

/** @throws ERR_FORBIDDEN unless the principal's access_ids cover this one. */
export function requireAccess(principal: Principal, accessId: string): void {
  if (principal.scopes.has('admin') || principal.accessIds.some((pattern) => covers(pattern, accessId))) {
    return;
  }
  throw new LastseenError('ERR_FORBIDDEN', `the token does not cover the access_id ${quote(accessId)}`);
}

/** Begins the subjects and token names of an identity provider, so that they never equal our own. */
export const PROVIDER_PREFIX = 'outside:';

/** True when one of the patterns covers every access_id that `name` stands for: itself a name, or a prefix with `*`. */
export function isSubset(name: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => {
    if (!name.endsWith('*')) {
      return covers(pattern, name);
    }
    return pattern.endsWith('*') && name.startsWith(pattern.slice(0, -1)) && !isReserved(name, pattern);
  });
}

/** Only an exact name, or a prefix that begins with `$`, covers the service's own feeds. */
function covers(pattern: string, accessId: string): boolean {
  if (!pattern.endsWith('*')) {
    return pattern === accessId;
  }
  return accessId.startsWith(pattern.slice(0, -1)) && !isReserved(accessId, pattern);
}

function isReserved(accessId: string, pattern: string): boolean {
  return accessId.startsWith(RESERVED_PREFIX) && !pattern.startsWith(RESERVED_PREFIX);
}
