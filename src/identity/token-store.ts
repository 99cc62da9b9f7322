/**
 * The port behind which an engine keeps the records of tokens. It never sees a token: secrets reach it as hashes (G12).
 * Changes are given back as row changes, which go into the log's own transaction beside the event that reports them.
 */
import type { RowChange } from '../log/store.ts';

/** An access token that was issued. Times in milliseconds since 1970. */
export interface TokenRecord {
  readonly jti: string;
  readonly subject: string;
  /** Space-separated. */
  readonly scope: string;
  readonly accessIds: readonly string[];
  readonly clientId: string | null;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly revokedAt: number | null;
  /** Tokens refreshed from one another have one family. */
  readonly family: string;
  readonly refreshExpiresAt: number | null;
  /** When its refresh token was used. */
  readonly refreshedAt: number | null;
}

export interface TokenStore {
  /** SHA-256 of the admin token made at the first start, in hexadecimal, if one was made. */
  adminHash(): Promise<string | undefined>;
  /** Keeps the hash unless another process was first; returns the one that is kept. */
  saveAdminHash(hash: string, createdAt: number): Promise<string>;

  find(jti: string): Promise<TokenRecord | undefined>;
  findByRefreshHash(hash: string): Promise<TokenRecord | undefined>;
  /** Newest first, those that are neither expired nor revoked at `now`. */
  list(limit: number, now: number): Promise<TokenRecord[]>;
  insert(token: TokenRecord, refreshHash: string | null): RowChange;
  /** Refused if the refresh token was used already, or the token was revoked. */
  useRefresh(jti: string, now: number): RowChange;
  revoke(jti: string, now: number): RowChange;
  revokeFamily(family: string, now: number): RowChange;
  revokeOfClient(clientId: string, now: number): RowChange;
  revokeOfSubject(subject: string, now: number): RowChange;
  /** Deletes tokens that have expired and cannot be refreshed. */
  deleteExpired(now: number): Promise<void>;
}
