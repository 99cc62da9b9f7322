/** From a token to a principal: the admin's, one of our own, or one of an outside identity provider (G12). */
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose';
import { z } from 'zod';
import { LastseenError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import { ALGORITHM, type Keys } from './keys.ts';
import { ADMIN, ANYONE, type Principal, type Scope, SCOPES } from './principal.ts';
import { concerns, type Revocations, type Revocation } from './revocations.ts';
import { hasHash, newSecret, secretHash } from './secrets.ts';
import type { TokenStore } from './token-store.ts';
import { ISSUER } from './tokens.ts';

export interface Authenticator {
  /**
   * Whose token this is; at once when it was seen before.
   * @throws ERR_UNAUTHENTICATED without one, or with one that does not hold
   */
  authenticate(token: string | undefined): Principal | Promise<Principal>;
  /** The tokens concerned hold no longer. */
  revoke(what: Revocation): void;
  /** True when no token is asked for. */
  readonly isOpen: boolean;
}

/** Whose tokens are taken beside our own. */
export interface IdentityProvider {
  readonly jwksUrl: string;
  readonly issuer: string;
  readonly audience: string;
}

export interface AuthenticatorOptions {
  readonly tokens: Pick<TokenStore, 'find' | 'adminHash' | 'saveAdminHash'>;
  readonly keys: Keys;
  readonly runtime: Pick<Runtime, 'clock' | 'random'>;
  readonly revocations: Revocations;
  readonly isOpen: boolean;
  /** The admin token if the operator has set one. */
  readonly adminToken: string | undefined;
  readonly provider: IdentityProvider | undefined;
  /** Called with a token made at the first start: the only time it is in clear. */
  readonly onAdminToken: (token: string) => void;
}

/** Tokens that were verified, by their hash. */
const MAX_CACHED = 10_000;

/** Signatures that outside providers may use: none that a public key could be taken for a secret of. */
const PROVIDER_ALGORITHMS = [
  'EdDSA',
  'Ed25519',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
];

/** What we ask of a token's claims. */
const Claims = z.object({
  sub: z.string().min(1).max(256),
  scope: z.string(),
  access_ids: z.array(z.string()).default([]),
  exp: z.number(),
  iat: z.number().optional(),
  jti: z.string().min(1).optional(),
});

export async function createAuthenticator(options: AuthenticatorOptions): Promise<Authenticator> {
  const { tokens, keys, revocations, isOpen, provider: outside } = options;
  const { clock } = options.runtime;
  const adminHash = isOpen ? undefined : await adminHashOf(options);
  const providerKeys = outside === undefined ? undefined : createRemoteJWKSet(new URL(outside.jwksUrl));
  const cache = new Map<string, Principal>();

  async function verify(token: string, hash: string): Promise<Principal> {
    const before = revocations.count;
    const principal = await verifyUncached(token);
    // A revocation that came meanwhile may be of this token: it is looked up again the next time.
    if (revocations.count === before) {
      if (cache.size >= MAX_CACHED) {
        cache.delete(cache.keys().next().value ?? '');
      }
      cache.set(hash, principal);
    } else if (revocations.isRevoked(principal)) {
      throw tokenInvalid();
    }
    return principal;
  }

  async function verifyUncached(token: string): Promise<Principal> {
    let kid: string | undefined;
    let issuer: string | undefined;
    try {
      ({ kid } = decodeProtectedHeader(token));
      ({ iss: issuer } = decodeJwt(token));
    } catch {
      throw tokenInvalid();
    }
    if (issuer === ISSUER) {
      return verifyOwnToken(token, kid);
    }
    if (outside !== undefined && providerKeys !== undefined && issuer === outside.issuer) {
      const { payload } = await orRefuse(
        jwtVerify(token, providerKeys, {
          issuer: outside.issuer,
          audience: outside.audience,
          algorithms: PROVIDER_ALGORITHMS,
          currentDate: new Date(clock.now()),
          requiredClaims: ['exp', 'sub'],
        }),
      );
      return principalOf(payload, { family: null, clientId: null, prefix: 'outside:' });
    }
    throw tokenInvalid();
  }

  async function verifyOwnToken(token: string, kid: string | undefined): Promise<Principal> {
    const key = kid === undefined ? undefined : await keys.verifyingKey(kid);
    if (key === undefined) {
      throw tokenInvalid();
    }
    const { payload } = await orRefuse(
      jwtVerify(token, key, {
        issuer: ISSUER,
        audience: ISSUER,
        algorithms: [ALGORITHM],
        currentDate: new Date(clock.now()),
        typ: 'at+jwt',
        requiredClaims: ['exp', 'sub', 'jti'],
      }),
    );
    const record = await tokens.find(payload.jti ?? '');
    if (record?.revokedAt !== null) {
      throw tokenInvalid();
    }
    // What was issued counts: a signature alone, by a key that was stolen, makes no other token of this one.
    const isAsIssued =
      payload['sub'] === record.subject &&
      payload['scope'] === record.scope &&
      JSON.stringify(payload['access_ids']) === JSON.stringify(record.accessIds);
    if (!isAsIssued) {
      throw tokenInvalid();
    }
    return principalOf(payload, {
      family: record.family,
      clientId: record.clientId,
      prefix: '',
      issuedAt: record.createdAt,
    });
  }

  return {
    isOpen,
    authenticate(token) {
      if (adminHash === undefined) {
        return ANYONE;
      }
      if (token === undefined) {
        throw new LastseenError(
          'ERR_UNAUTHENTICATED',
          'a token is needed: send "Authorization: Bearer TOKEN"',
        );
      }
      if (hasHash(token, adminHash)) {
        return ADMIN;
      }
      const hash = secretHash(token);
      const cached = cache.get(hash);
      if (cached === undefined) {
        return verify(token, hash);
      }
      if (cached.expiresAt === null || cached.expiresAt > clock.now()) {
        return cached;
      }
      cache.delete(hash);
      throw tokenInvalid();
    },
    revoke(what) {
      revocations.add(what);
      for (const [hash, principal] of cache) {
        if (concerns(what, principal)) {
          cache.delete(hash);
        }
      }
    },
  };
}

function principalOf(
  payload: JWTPayload,
  more: { family: string | null; clientId: string | null; prefix: string; issuedAt?: number },
): Principal {
  const parsed = Claims.safeParse(payload);
  if (!parsed.success) {
    throw tokenInvalid();
  }
  const { sub, scope, access_ids: accessIds, exp, iat, jti } = parsed.data;
  const known = new Set<string>(SCOPES);
  return {
    subject: more.prefix + sub,
    scopes: new Set(scope.split(' ').filter((one): one is Scope => known.has(one))),
    accessIds,
    jti: jti === undefined ? null : more.prefix + jti,
    family: more.family,
    clientId: more.clientId,
    issuedAt: more.issuedAt ?? (iat ?? 0) * 1_000,
    expiresAt: exp * 1_000,
  };
}

async function orRefuse<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch {
    throw tokenInvalid();
  }
}

/** The same for every reason: a stranger learns nothing of which. */
function tokenInvalid(): LastseenError {
  return new LastseenError('ERR_UNAUTHENTICATED', 'the token is not valid, or not any more');
}

async function adminHashOf(options: AuthenticatorOptions): Promise<string> {
  const { tokens, adminToken, runtime } = options;
  if (adminToken !== undefined) {
    return secretHash(adminToken);
  }
  const stored = await tokens.adminHash();
  if (stored !== undefined) {
    return stored;
  }
  const token = newSecret(runtime.random);
  const hashed = secretHash(token);
  const kept = await tokens.saveAdminHash(hashed, runtime.clock.now());
  // Of several processes that start at once, one makes the token.
  if (kept === hashed) {
    options.onAdminToken(token);
  }
  return kept;
}
