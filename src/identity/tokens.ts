/**
 * Access tokens (JWT, EdDSA) and their refresh tokens. Each is a row without the token itself. Issuing and revoking write
 * an event of `$control` in the same transaction, which every node obeys (G10).
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

/** What a new token shall allow. */
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
  /**
   * Exchanges a refresh token, once. A second use revokes all tokens of the family: one of the two users is a thief.
   * @throws ERR_GRANT_INVALID
   */
  refresh(refreshToken: string, clientId: string | null): Promise<IssuedToken>;
  /** The tokens that are neither expired nor revoked: the newest first, at most 1,000. */
  list(): Promise<TokenRecord[]>;
  /** @throws ERR_NOT_FOUND */
  revoke(jti: string): Promise<void>;
  /** Revokes the family of the refresh token, if the token exists (RFC 7009). */
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

/** What goes into the transaction of a `$control` event. */
interface AlsoAppended {
  readonly rows: readonly RowChange[];
  /** Events of `$users`. */
  readonly userEvents: readonly NewEvent[];
}

export function createTokens({ tokens, users, keys, append, runtime }: TokensOptions): Tokens {
  const { clock, random } = runtime;

  async function issueInFamily(
    family: string,
    request: TokenRequest,
    { rows = [], userEvents = [] }: Partial<AlsoAppended>,
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
    await appendControl(
      { type: 'token_issued', jti },
      { rows: [...rows, tokens.insert(record, secretHash(refreshToken))], userEvents },
    );
    return { accessToken, refreshToken, expiresInSeconds: seconds, scope: request.scope, jti };
  }

  /** Appends an event of `$control` together with the rows that it reports. */
  async function appendControl(
    value: Readonly<Record<string, string>>,
    { rows, userEvents }: AlsoAppended,
  ): Promise<void> {
    await append({ events: [serviceEvent(CONTROL, value), ...userEvents], key: null, rows });
  }

  const appendRevoked = (
    revocation: Revocation,
    row: RowChange,
    userEvents: readonly NewEvent[],
  ): Promise<void> => appendControl({ type: 'token_revoked', ...revocation }, { rows: [row], userEvents });

  /** The events of `$users` about a token: none unless a registered user has it, not a connector. */
  async function userEventsOf(
    type: 'logged_in' | 'logged_out',
    { subject, clientId }: Pick<TokenRequest, 'subject' | 'clientId'>,
  ): Promise<NewEvent[]> {
    const user = clientId === null ? await findUserBySubject(users, subject) : undefined;
    return user === undefined ? [] : [serviceEvent(USERS, { type, id: user.id })];
  }

  async function revokeFamily(record: TokenRecord): Promise<void> {
    const userEvents = record.revokedAt === null ? await userEventsOf('logged_out', record) : [];
    const row = tokens.revokeFamily(record.family, clock.now());
    await appendRevoked({ family: record.family }, row, userEvents);
  }

  return {
    issue: async (request) =>
      issueInFamily(random.uuid(), request, { userEvents: await userEventsOf('logged_in', request) }),
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
        return await issueInFamily(record.family, request, { rows: [tokens.useRefresh(record.jti, now)] });
      } catch (error) {
        // Another request has used it at the same time.
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
        throw new LastseenError('ERR_NOT_FOUND', 'the token does not exist');
      }
      // A refreshed token continues in its successor, so its user stays logged in.
      const isLast = record.revokedAt === null && record.refreshedAt === null;
      const userEvents = isLast ? await userEventsOf('logged_out', record) : [];
      await appendRevoked({ jti }, tokens.revoke(jti, clock.now()), userEvents);
    },
    async revokeRefresh(refreshToken, clientId) {
      const record = await tokens.findByRefreshHash(secretHash(refreshToken));
      if (record?.clientId !== clientId) {
        return;
      }
      await revokeFamily(record);
    },
    async revokeSubject(subject) {
      const userEvents = await userEventsOf('logged_out', { subject, clientId: null });
      await appendRevoked({ subject }, tokens.revokeOfSubject(subject, clock.now()), userEvents);
    },
  };
}

function grantInvalid(): LastseenError {
  return new LastseenError('ERR_GRANT_INVALID', 'the refresh token is invalid, used, expired or revoked');
}
