/** Who a token says you are, and what it allows. */
import { LastseenError, shown } from '../log/errors.ts';

export type Scope = 'push' | 'subscribe' | 'drop' | 'query' | 'admin';

export interface Principal {
  /** Stable name of the holder, for keys and the operator's log. Not a secret. */
  readonly subject: string;
  /** `admin` implies all. */
  readonly scopes: ReadonlySet<Scope>;
  /** Exact access_ids, or prefixes that end in `*`. */
  readonly accessIds: readonly string[];
}

/** The holder of the admin token. */
export const ADMIN: Principal = { subject: 'admin', scopes: new Set<Scope>(['admin']), accessIds: ['*'] };

/** Everybody, when authentication is open. */
export const ANYONE: Principal = { subject: 'anyone', scopes: new Set<Scope>(['admin']), accessIds: ['*'] };

/** @throws ERR_FORBIDDEN unless the principal has the scope. */
export function requireScope(principal: Principal, scope: Scope): void {
  if (principal.scopes.has(scope) || principal.scopes.has('admin')) return;
  throw new LastseenError('ERR_FORBIDDEN', `this token lacks the scope ${shown(scope)}`);
}

/** @throws ERR_FORBIDDEN unless the principal's access_ids cover this one. */
export function requireAccess(principal: Principal, accessId: string): void {
  if (principal.accessIds.some((pattern) => covers(pattern, accessId))) return;
  throw new LastseenError('ERR_FORBIDDEN', `this token does not cover the access_id ${shown(accessId)}`);
}

function covers(pattern: string, accessId: string): boolean {
  return pattern.endsWith('*') ? accessId.startsWith(pattern.slice(0, -1)) : pattern === accessId;
}
