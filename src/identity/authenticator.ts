/** From a token to a principal. Knows tokens only as hashes and compares in constant time (G12). */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { LastseenError } from '../log/errors.ts';
import { ADMIN, ANYONE, type Principal } from './principal.ts';
import type { IdentityStore } from './store.ts';

export interface Authenticator {
  /** Whose token this is. @throws ERR_UNAUTHENTICATED without one, or with one that is not known. */
  authenticate(token: string | undefined): Principal;
  /** True when no token is asked for. */
  readonly isOpen: boolean;
}

export interface AuthenticatorOptions {
  readonly identity: IdentityStore;
  readonly isOpen: boolean;
  /** The admin token if the operator has set one. */
  readonly adminToken: string | undefined;
  /** Called with a token made at the first start: the only time it is in clear. */
  readonly onAdminToken: (token: string) => void;
}

export async function createAuthenticator(options: AuthenticatorOptions): Promise<Authenticator> {
  const { identity, isOpen, adminToken } = options;
  const expected = isOpen ? undefined : await adminHash(identity, adminToken, options.onAdminToken);

  return {
    isOpen,
    authenticate(token) {
      if (expected === undefined) return ANYONE;
      if (token === undefined)
        throw new LastseenError(
          'ERR_UNAUTHENTICATED',
          'a token is needed: send "Authorization: Bearer TOKEN"',
        );
      // Both sides are SHA-256, so their lengths are equal. A token of 256 random bits needs no slow hash.
      if (timingSafeEqual(sha256(token), expected)) return ADMIN;
      throw new LastseenError('ERR_UNAUTHENTICATED', 'the token is not valid');
    },
  };
}

async function adminHash(
  identity: IdentityStore,
  given: string | undefined,
  onAdminToken: (token: string) => void,
): Promise<Buffer> {
  if (given !== undefined) return sha256(given);
  const stored = await identity.adminTokenHash();
  if (stored !== undefined) return Buffer.from(stored, 'hex');
  const token = randomBytes(32).toString('base64url');
  const hashed = sha256(token);
  const kept = await identity.saveAdminTokenHash(hashed.toString('hex'));
  // Of several processes that start at once, one makes the token.
  if (kept === hashed.toString('hex')) onAdminToken(token);
  return Buffer.from(kept, 'hex');
}

function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
