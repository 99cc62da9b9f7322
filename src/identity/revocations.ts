/** What was revoked lately: closes the gap between looking a token up and being connected with it. */
import type { Clock } from '../runtime.ts';
import type { Principal } from './principal.ts';

/** What a revocation names: tokens, all that were refreshed from one another, of a client, or of a subject. */
export type Revocation =
  | { readonly jti: string }
  | { readonly family: string }
  | { readonly client_id: string }
  | { readonly subject: string };

export interface Revocations {
  /** Counts revocations: what was looked up before the last one may be out of date. */
  readonly count: number;
  add(revoked: Revocation): void;
  /** Whether a token of this principal was revoked lately, after it was issued. */
  isRevoked(principal: Principal): boolean;
}

const KEPT_MS = 300_000;

export function createRevocations(clock: Clock): Revocations {
  let recent: { readonly revoked: Revocation; readonly at: number }[] = [];
  let count = 0;
  return {
    get count() {
      return count;
    },
    add(revoked) {
      count += 1;
      const now = clock.now();
      recent = recent.filter(({ at }) => now - at < KEPT_MS);
      recent.push({ revoked, at: now });
    },
    isRevoked: (principal) =>
      recent.some(({ revoked, at }) => concerns(revoked, principal) && principal.issuedAt <= at),
  };
}

export function concerns(revoked: Revocation, principal: Principal): boolean {
  // The admin's own token, and everybody where nobody is asked, stand in no table.
  if (principal.jti === null && principal.scopes.has('admin')) {
    return false;
  }
  if ('jti' in revoked) {
    return principal.jti === revoked.jti;
  }
  if ('family' in revoked) {
    return principal.family === revoked.family;
  }
  if ('client_id' in revoked) {
    return principal.clientId === revoked.client_id;
  }
  return principal.subject === revoked.subject;
}
