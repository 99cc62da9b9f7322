/**
 * Access tokens (JWT, EdDSA) and the refresh tokens behind them. Each is a row without the token itself; what happens
 * to it is an event of `$control` in the same transaction, so that every node obeys (G10).
 */
import { SignJWT } from 'jose';
import { LastseenError } from '../errors.ts';
import { type NewEvent, serviceEvent } from '../log/event.ts';
import type { RowChange } from '../log/store.ts';
import type { Runtime } from '../runtime.ts';
import { type Append, CONTROL, USERS } from './feeds.ts';
import { ALGORITHM, type Keys, MAX_TOKEN_SECONDS } from './keys.ts';
import type { Revocation } from './revocations.ts';
import { newSecret, secretHash } from './secrets.ts';
import type { TokenRecord, TokenStore } from './token-store.ts';
import type { UserStore } from './user-store.ts';
import { findUserBySubject } from './users.ts';

export const ISSUER = 'lastseen';

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
  readonly tokens: TokenStore;
  readonly users: Pick<UserStore, 'find' | 'list'>;
  readonly keys: Keys;
  readonly append: Append;
  readonly runtime: Pick<Runtime, 'clock' | 'random'>;
}

export function createTokens({ tokens, users, keys, append, runtime }: TokensOptions): Tokens {
  const { clock, random } = runtime;

  async function issueInFamily(
    request: TokenRequest,
    family: string,
    before: readonly RowChange[],
    told: readonly NewEvent[] = [],
  ): Promise<IssuedToken> {
    const now = clock.now();
    const seconds = Math.min(request.expiresInSeconds, MAX_TOKEN_SECONDS);
    const jti = random.uuid();
    const refreshToken = newSecret(random, 'lsr_');
    const { kid, key } = await keys.signingKey();
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
    const rows = [...before, tokens.insert(record, secretHash(refreshToken))];
    await write('token_issued', { jti }, rows, told);
    return { accessToken, refreshToken, expiresInSeconds: seconds, scope: request.scope, jti };
  }

  /** The rows and the event that tells of them, together. */
  async function write(
    type: string,
    what: Readonly<Record<string, string>>,
    rows: readonly RowChange[],
    told: readonly NewEvent[],
  ): Promise<void> {
    await append({ events: [serviceEvent(CONTROL, { type, ...what }), ...told], key: null, rows });
  }

  const revoke = (revoked: Revocation, row: RowChange, told: readonly NewEvent[] = []): Promise<void> =>
    write('token_revoked', { ...revoked }, [row], told);

  /** What `$users` is told when the holder is a registered user: nothing when the token is a connector's. */
  async function userEvents(
    type: 'logged_in' | 'logged_out',
    { subject, clientId }: Pick<TokenRequest, 'subject' | 'clientId'>,
  ): Promise<NewEvent[]> {
    const user = clientId === null ? await findUserBySubject(users, subject) : undefined;
    return user === undefined ? [] : [serviceEvent(USERS, { type, id: user.id })];
  }

  async function revokeFamily(record: TokenRecord): Promise<void> {
    const told = record.revokedAt === null ? await userEvents('logged_out', record) : [];
    await revoke({ family: record.family }, tokens.revokeFamily(record.family, clock.now()), told);
  }

  return {
    issue: async (request) =>
      issueInFamily(request, random.uuid(), [], await userEvents('logged_in', request)),
    async refresh(refreshToken, clientId) {
      const now = clock.now();
      const record = await tokens.findByRefreshHash(secretHash(refreshToken));
      if (record?.clientId !== clientId) {
        throw grantInvalid();
      }
      if (record.revokedAt !== null || (record.refreshExpiresAt ?? 0) <= now) {
        throw grantInvalid();
      }
      if (record.refreshedAt !== null) {
        await revokeFamily(record);
        throw grantInvalid();
      }
      try {
        const { subject, scope, accessIds, createdAt, expiresAt } = record;
        const expiresInSeconds = Math.max(1, Math.round((expiresAt - createdAt) / 1_000));
        const request = { subject, scope, accessIds, expiresInSeconds, clientId };
        return await issueInFamily(request, record.family, [tokens.useRefresh(record.jti, now)]);
      } catch (error) {
        // Somebody else used it a moment before: one of the two is a thief.
        if (!(error instanceof LastseenError) || error.code !== 'ERR_CHANGED_MEANWHILE') {
          throw error;
        }
        await revokeFamily(record);
        throw grantInvalid();
      }
    },
    async list() {
      await tokens.deleteExpired(clock.now());
      return tokens.list(MAX_LISTED, clock.now());
    },
    async revoke(jti) {
      const record = await tokens.find(jti);
      if (record === undefined) {
        throw new LastseenError('ERR_NOT_FOUND', 'there is no such token');
      }
      // One that was refreshed lives on in the token that came of it.
      const isLast = record.revokedAt === null && record.refreshedAt === null;
      const told = isLast ? await userEvents('logged_out', record) : [];
      await revoke({ jti }, tokens.revoke(jti, clock.now()), told);
    },
    async revokeRefresh(refreshToken, clientId) {
      const record = await tokens.findByRefreshHash(secretHash(refreshToken));
      if (record?.clientId !== clientId) {
        return;
      }
      await revokeFamily(record);
    },
    async revokeSubject(subject) {
      const told = await userEvents('logged_out', { subject, clientId: null });
      await revoke({ subject }, tokens.revokeOfSubject(subject, clock.now()), told);
    },
  };
}

function grantInvalid(): LastseenError {
  return new LastseenError(
    'ERR_GRANT_INVALID',
    'the refresh token is not valid: it was used, revoked, or is over',
  );
}
