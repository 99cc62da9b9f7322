/** Who may do what, kept by knex: the same on both engines. */
import type { Knex } from 'knex';
import type { IdentityStore } from '../identity/store.ts';

interface TokenRow {
  readonly jti: string;
  readonly token_hash: string;
}

export function identityStore(knex: Knex): IdentityStore {
  async function adminTokenHash(): Promise<string | undefined> {
    const row = await knex<TokenRow>('tokens').where({ jti: 'admin' }).first('token_hash');
    return row?.token_hash;
  }

  return {
    adminTokenHash,
    async saveAdminTokenHash(hash) {
      await knex('tokens')
        .insert({ jti: 'admin', token_hash: hash, scope: 'admin', created_at: Date.now() })
        .onConflict('jti')
        .ignore();
      return (await adminTokenHash()) ?? hash;
    },
  };
}
