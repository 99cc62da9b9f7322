/**
 * The port behind which an engine keeps users, tokens, clients and keys. Secrets reach it only as hashes (G12). What
 * changes is given back as row changes, which go into the log's own transaction beside the event that tells of them.
 */
import type { RowChange } from '../log/store.ts';

/** A registered user. Times in milliseconds since 1970. */
export interface User {
  /** A UUID; also the user's own access_id. */
  readonly id: string;
  readonly nickname: string | null;
  readonly stampsCollected: number;
  readonly insertedAt: number;
  readonly updatedAt: number;
}

/** An access token that was issued; the token itself is never kept. */
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

/** A connector's credentials. */
export interface ClientRecord {
  readonly clientId: string;
  readonly name: string;
  readonly secretHash: string;
  readonly scope: string;
  readonly accessIds: readonly string[];
  readonly createdAt: number;
}

export interface SigningKey {
  readonly kid: string;
  readonly publicJwk: string;
  /** As it is kept: sealed when the operator has set a secret for that. */
  readonly privateJwk: string;
  readonly createdAt: number;
  readonly retiredAt: number | null;
}

/** A page of users, oldest first. */
export interface UserQuery {
  readonly limit: number;
  /** The user after which the page begins. */
  readonly after?: { readonly insertedAt: number; readonly id: string };
  readonly nickname?: string;
}

/** One property of what applications keep beside a user. */
export interface MetaEntry {
  /** Any name: dots and `$` mean nothing. */
  readonly property: string;
  /** JSON text. */
  readonly value: string;
}

export interface MetaWrite {
  readonly userId: string;
  readonly entries: readonly MetaEntry[];
  /** The entries are all there is from now on; otherwise other properties stay. */
  readonly isWhole: boolean;
  /** Of all properties of the user together, written as JSON. */
  readonly maxBytes: number;
}

export interface IdentityStore {
  /** SHA-256 of the admin token made at the first start, in hexadecimal, if one was made. */
  adminTokenHash(): Promise<string | undefined>;
  /** Keeps the hash unless another process was first; returns the one that is kept. */
  saveAdminTokenHash(hash: string): Promise<string>;

  user(id: string): Promise<User | undefined>;
  users(query: UserQuery): Promise<User[]>;
  insertUser(user: User): RowChange;
  /** Refused if the user is gone. */
  updateUser(user: User): RowChange;
  removeUser(id: string): RowChange;

  /** All properties of a user, or the one that is named, if there is one. */
  userMeta(userId: string, property?: string): Promise<MetaEntry[]>;
  /** Whole or not at all. Writers of the same user take turns. */
  writeUserMeta(write: MetaWrite): Promise<'written' | 'no-user' | 'too-large'>;
  removeUserMeta(userId: string): RowChange;

  token(jti: string): Promise<TokenRecord | undefined>;
  tokenByRefreshHash(hash: string): Promise<TokenRecord | undefined>;
  /** Newest first, those that are not over. */
  tokens(limit: number, now: number): Promise<TokenRecord[]>;
  insertToken(token: TokenRecord, refreshHash: string | null): RowChange;
  /** Refused if the refresh token was used already. */
  useRefresh(jti: string, now: number): RowChange;
  revokeToken(jti: string, now: number): RowChange;
  revokeFamily(family: string, now: number): RowChange;
  revokeClientTokens(clientId: string, now: number): RowChange;
  revokeSubjectTokens(subject: string, now: number): RowChange;
  /** Forgets tokens that are over and cannot be refreshed. */
  forgetTokens(now: number): Promise<void>;

  client(clientId: string): Promise<ClientRecord | undefined>;
  clients(): Promise<ClientRecord[]>;
  insertClient(client: ClientRecord): RowChange;
  /** Refused if there is no such client. */
  removeClient(clientId: string): RowChange;

  signingKeys(): Promise<SigningKey[]>;
  /** Retires the others. */
  addSigningKey(key: SigningKey): Promise<void>;
  /** Keeps the key unless there is one already. */
  addFirstSigningKey(key: SigningKey): Promise<void>;
  forgetSigningKeys(retiredBefore: number): Promise<void>;

  secret(name: string): Promise<string | undefined>;
  /** Keeps the secret unless there is one of that name already. */
  addSecret(name: string, value: string): Promise<void>;

  saveTicket(hash: string, principal: string, expiresAt: number): Promise<void>;
  /** What was saved under the ticket, once, if it is not over. */
  takeTicket(hash: string, now: number): Promise<string | undefined>;
}
