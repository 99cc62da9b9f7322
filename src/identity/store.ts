/** The port behind which an engine keeps who may do what. Secrets reach it only as hashes (G12). */
export interface IdentityStore {
  /** SHA-256 of the admin token made at the first start, in hexadecimal, if one was made. */
  adminTokenHash(): Promise<string | undefined>;
  /** Keeps the hash unless another process was first; returns the one that is kept. */
  saveAdminTokenHash(hash: string): Promise<string>;
}
