/** Finds the principal of a token: the admin token, one of our own, or one of an identity provider (G12). */
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose';
import { z } from 'zod';
import { LastseenError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import { ALGORITHM, type Keys } from './keys.ts';
import { ADMIN, ANYONE, type Principal, PROVIDER_PREFIX, type Scope, SCOPES } from './principal.ts';
import { concerns, type Revocation, type Revocations } from './revocations.ts';
import { hasHash, newSecret, secretHash } from './secrets.ts';
import type { TokenStore } from './token-store.ts';
import { ISSUER } from './tokens.ts';

export interface Authenticator {
  /**
   * The principal of the token, without a promise if the token was verified before.
   * @throws ERR_UNAUTHENTICATED when the token is missing, invalid, expired or revoked
   */
  authenticate(token: string | undefined): Principal | Promise<Principal>;
  /** Refuses the tokens that the revocation names from now on. */
  revoke(revocation: Revocation): void;
  /** Looks up every token again at its next use: the store may hold other tokens now. */
  forget(): void;
  /** True when requests need no token. */
  readonly isOpen: boolean;
}

/** An identity provider whose tokens are accepted beside our own. */
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
  /** Called with a token that was made now, at the first start. It is in clear only here. */
  readonly onAdminToken: (token: string) => void;
}

/** Verified tokens kept in memory. */
const MAX_CACHED = 10_000;

/** Signatures that a provider may use. None is symmetric: its public key must not serve as a secret. */
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

/** The claims that a token must have. */
const Claims = z.object({
  sub: z.string().min(1).max(256),
  scope: z.string(),
  access_ids: z.array(z.string()).default([]),
  exp: z.number(),
  iat: z.number().optional(),
  jti: z.string().min(1).optional(),
});

export async function createAuthenticator(options: AuthenticatorOptions): Promise<Authenticator> {
  const { tokens, keys, revocations, isOpen, provider } = options;
  const { clock } = options.runtime;
  const adminHash = isOpen ? undefined : await adminHashOf(options);
  const providerKeys = provider === undefined ? undefined : createRemoteJWKSet(new URL(provider.jwksUrl));
  const cache = new Map<string, Principal>();

  async function verify(token: string, hash: string): Promise<Principal> {
    const before = revocations.count;
    const principal = await verifyUncached(token);
    // A revocation during the look-up may concern this token: the next use looks it up again.
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
    if (provider !== undefined && providerKeys !== undefined && issuer === provider.issuer) {
      const { payload } = await orRefuse(
        jwtVerify(token, providerKeys, {
          issuer: provider.issuer,
          audience: provider.audience,
          algorithms: PROVIDER_ALGORITHMS,
          currentDate: new Date(clock.now()),
          requiredClaims: ['exp', 'sub'],
        }),
      );
      return principalOf(payload, { family: null, clientId: null, prefix: PROVIDER_PREFIX });
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
    // The token must be as it was issued: a stolen key alone cannot extend the rights of a token.
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
          'the request needs a token: send "Authorization: Bearer TOKEN"',
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
    forget() {
      cache.clear();
    },
    revoke(revocation) {
      revocations.add(revocation);
      for (const [hash, principal] of cache) {
        if (concerns(revocation, principal)) {
          cache.delete(hash);
        }
      }
    },
  };
}

function principalOf(
  payload: JWTPayload,
  source: { family: string | null; clientId: string | null; prefix: string; issuedAt?: number },
): Principal {
  const parsed = Claims.safeParse(payload);
  if (!parsed.success) {
    throw tokenInvalid();
  }
  const { sub, scope, access_ids: accessIds, exp, iat, jti } = parsed.data;
  const known = new Set<string>(SCOPES);
  return {
    subject: source.prefix + sub,
    scopes: new Set(scope.split(' ').filter((name): name is Scope => known.has(name))),
    accessIds,
    jti: jti === undefined ? null : source.prefix + jti,
    family: source.family,
    clientId: source.clientId,
    issuedAt: source.issuedAt ?? (iat ?? 0) * 1_000,
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

/** One message for every reason: it does not help to guess tokens. */
function tokenInvalid(): LastseenError {
  return new LastseenError('ERR_UNAUTHENTICATED', 'the token is invalid, expired or revoked');
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
