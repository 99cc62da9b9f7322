/** The port behind which an engine keeps who may do what. Secrets reach it only as hashes (G12). */
export interface IdentityStore {
  /** SHA-256 of the admin token made at the first start, in hexadecimal, if one was made. */
  adminTokenHash(): Promise<string | undefined>;
  saveAdminTokenHash(hash: string): Promise<void>;
}
