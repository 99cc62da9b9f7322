/**
 * The revocations of the last 5 minutes. A token may be revoked between its look-up and the moment its connection is
 * registered: the connection is checked against these.
 */
import type { Clock } from '../runtime.ts';
import type { Principal } from './principal.ts';

/** What a revocation names: one token, a family, or all tokens of a client or of a subject. */
export type Revocation =
  | { readonly jti: string }
  | { readonly family: string }
  | { readonly client_id: string }
  | { readonly subject: string };

export interface Revocations {
  /** Number of revocations so far. When it changes during a look-up, the result may be out of date. */
  readonly count: number;
  add(revocation: Revocation): void;
  /** Whether one of these revocations concerns the principal and came after its token was issued. */
  isRevoked(principal: Principal): boolean;
}

const KEPT_MS = 300_000;

export function createRevocations(clock: Clock): Revocations {
  let recent: { readonly revocation: Revocation; readonly revokedAt: number }[] = [];
  let count = 0;
  return {
    get count() {
      return count;
    },
    add(revocation) {
      count += 1;
      const now = clock.now();
      recent = recent.filter(({ revokedAt }) => now - revokedAt < KEPT_MS);
      recent.push({ revocation, revokedAt: now });
    },
    isRevoked: (principal) =>
      recent.some(
        ({ revocation, revokedAt }) => concerns(revocation, principal) && principal.issuedAt <= revokedAt,
      ),
  };
}

/** Whether the revocation names the token of this principal. */
export function concerns(revocation: Revocation, principal: Principal): boolean {
  // The admin token, and the principal of open authentication, are in no table.
  if (principal.jti === null && principal.scopes.has('admin')) {
    return false;
  }
  if ('jti' in revocation) {
    return principal.jti === revocation.jti;
  }
  if ('family' in revocation) {
    return principal.family === revocation.family;
  }
  if ('client_id' in revocation) {
    return principal.clientId === revocation.client_id;
  }
  return principal.subject === revocation.subject;
}
