/** The port behind which an engine keeps the credentials of connectors. Secrets reach it as hashes (G12). */
import type { RowChange } from '../log/store.ts';

/** A connector's credentials. */
export interface ClientRecord {
  readonly clientId: string;
  readonly name: string;
  readonly secretHash: string;
  /** Space-separated. */
  readonly scope: string;
  readonly accessIds: readonly string[];
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

export interface ClientStore {
  find(clientId: string): Promise<ClientRecord | undefined>;
  /** Oldest first. */
  list(): Promise<ClientRecord[]>;
  insert(client: ClientRecord): RowChange;
  /** Refused if there is no such client. */
  remove(clientId: string): RowChange;
}
