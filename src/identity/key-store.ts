/** The port behind which an engine keeps signing keys, and secrets that all nodes share. */

/** Times in milliseconds since 1970. */
export interface SigningKey {
  readonly kid: string;
  readonly publicJwk: string;
  /** As it is kept: sealed when the operator has set a secret for that. */
  readonly privateJwk: string;
  readonly createdAt: number;
  readonly retiredAt: number | null;
}

export interface KeyStore {
  /** Newest first. */
  list(): Promise<SigningKey[]>;
  /** Retires the others. */
  add(key: SigningKey): Promise<void>;
  /** Keeps the key unless there is one already. */
  addFirst(key: SigningKey): Promise<void>;
  deleteRetired(retiredBefore: number): Promise<void>;

  secret(name: string): Promise<string | undefined>;
  /** Keeps the secret unless there is one of that name already. */
  addSecret(name: string, value: string): Promise<void>;
}
