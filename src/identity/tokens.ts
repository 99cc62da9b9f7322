/**
 * Access tokens (JWT, EdDSA) and the refresh tokens behind them. Each is a row without the token itself; what happens
 * to it is an event of `$control` in the same transaction, so that every node obeys (G10).
 */
import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { LastseenError } from '../log/errors.ts';
import type { AppendRequest, Receipt, RowChange } from '../log/store.ts';
import { ALGORITHM, MAX_TOKEN_SECONDS, type Keys } from './keys.ts';
import type { Revoked } from './revocations.ts';
import { newSecret, secretHash } from './secrets.ts';
import type { IdentityStore, TokenRecord } from './store.ts';

export const ISSUER = 'lastseen';
export const CONTROL = '$control';

export const DEFAULT_TOKEN_SECONDS = 3_600;
const REFRESH_MS = 30 * 24 * 3_600_000;
const MAX_LISTED = 1_000;

/** What a token is asked to allow. */
export interface TokenRequest {
  readonly subject: string;
  /** Space-separated. */
  readonly scope: string;
  readonly accessIds: readonly string[];
  readonly expiresInSeconds: number;
  readonly clientId: string | null;
}

export interface IssuedToken {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly expiresInSeconds: number;
  readonly scope: string;
  readonly jti: string;
}

export interface Tokens {
  issue(request: TokenRequest): Promise<IssuedToken>;
  /** Once. @throws ERR_GRANT_INVALID; when it was used before, all tokens of its family are revoked */
  refresh(refreshToken: string, clientId: string | null): Promise<IssuedToken>;
  /** Newest first, at most 1,000; those that still hold. */
  list(): Promise<TokenRecord[]>;
  /** @throws ERR_NOT_FOUND */
  revoke(jti: string): Promise<void>;
  /** Revokes what this refresh token stands for, if it is known (RFC 7009). */
  revokeRefresh(refreshToken: string, clientId: string | null): Promise<void>;
  revokeSubject(subject: string): Promise<void>;
}

export interface TokensOptions {
  readonly store: IdentityStore;
  readonly keys: Keys;
  readonly append: (request: AppendRequest) => Promise<readonly Receipt[]>;
}

export function createTokens({ store, keys, append }: TokensOptions): Tokens {
  async function issueIn(
    request: TokenRequest,
    family: string,
    before: readonly RowChange[],
  ): Promise<IssuedToken> {
    const now = Date.now();
    const seconds = Math.min(request.expiresInSeconds, MAX_TOKEN_SECONDS);
    const jti = randomUUID();
    const refreshToken = newSecret('lsr_');
    const { kid, key } = await keys.signing();
    const expiresAt = (Math.floor(now / 1_000) + seconds) * 1_000;
    const accessToken = await new SignJWT({ scope: request.scope, access_ids: request.accessIds })
      .setProtectedHeader({ alg: ALGORITHM, kid, typ: 'at+jwt' })
      .setIssuer(ISSUER)
      .setAudience(ISSUER)
      .setSubject(request.subject)
      .setJti(jti)
      .setIssuedAt(Math.floor(now / 1_000))
      .setExpirationTime(expiresAt / 1_000)
      .sign(key);
    const record: TokenRecord = {
      jti,
      subject: request.subject,
      scope: request.scope,
      accessIds: request.accessIds,
      clientId: request.clientId,
      createdAt: now,
      expiresAt,
      revokedAt: null,
      family,
      refreshExpiresAt: now + REFRESH_MS,
      refreshedAt: null,
    };
    await write('token_issued', { jti }, [...before, store.insertToken(record, secretHash(refreshToken))]);
    return { accessToken, refreshToken, expiresInSeconds: seconds, scope: request.scope, jti };
  }

  /** The rows and the event that tells of them, together. */
  async function write(
    type: string,
    what: Readonly<Record<string, string>>,
    rows: readonly RowChange[],
  ): Promise<void> {
    const payload = JSON.stringify({ type, ...what });
    await append({ events: [{ accessId: CONTROL, createdAt: null, id: null, payload }], key: null, rows });
  }

  const revoke = (revoked: Revoked, row: RowChange): Promise<void> =>
    write('token_revoked', { ...revoked }, [row]);

  return {
    issue: (request) => issueIn(request, randomUUID(), []),
    async refresh(refreshToken, clientId) {
      const now = Date.now();
      const record = await store.tokenByRefreshHash(secretHash(refreshToken));
      if (record?.clientId !== clientId) throw invalidGrant();
      if (record.revokedAt !== null || (record.refreshExpiresAt ?? 0) <= now) throw invalidGrant();
      if (record.refreshedAt !== null) {
        await revoke({ family: record.family }, store.revokeFamily(record.family, now));
        throw invalidGrant();
      }
      try {
        const { subject, scope, accessIds, createdAt, expiresAt } = record;
        const expiresInSeconds = Math.max(1, Math.round((expiresAt - createdAt) / 1_000));
        const request = { subject, scope, accessIds, expiresInSeconds, clientId };
        return await issueIn(request, record.family, [store.useRefresh(record.jti, now)]);
      } catch (error) {
        // Somebody else used it a moment before: one of the two is a thief.
        if (!(error instanceof LastseenError) || error.code !== 'ERR_CHANGED_MEANWHILE') throw error;
        await revoke({ family: record.family }, store.revokeFamily(record.family, now));
        throw invalidGrant();
      }
    },
    async list() {
      await store.forgetTokens(Date.now());
      return store.tokens(MAX_LISTED, Date.now());
    },
    async revoke(jti) {
      if ((await store.token(jti)) === undefined)
        throw new LastseenError('ERR_NOT_FOUND', 'there is no such token');
      await revoke({ jti }, store.revokeToken(jti, Date.now()));
    },
    async revokeRefresh(refreshToken, clientId) {
      const record = await store.tokenByRefreshHash(secretHash(refreshToken));
      if (record?.clientId !== clientId) return;
      await revoke({ family: record.family }, store.revokeFamily(record.family, Date.now()));
    },
    revokeSubject: (subject) => revoke({ subject }, store.revokeSubjectTokens(subject, Date.now())),
  };
}

function invalidGrant(): LastseenError {
  return new LastseenError(
    'ERR_GRANT_INVALID',
    'the refresh token is not valid: it was used, revoked, or is over',
  );
}
