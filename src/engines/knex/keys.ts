/** Signing keys and shared secrets, kept by knex: the same on both engines. */
import type { Knex } from 'knex';
import type { KeyStore, SigningKey } from '../../identity/key-store.ts';
import { numberOrNull } from './row-change.ts';

interface KeyRow {
  kid: string;
  public_jwk: string;
  private_jwk: string;
  created_at: number | string;
  retired_at: number | string | null;
}

export function createKeyStore(knex: Knex): KeyStore {
  return {
    async list() {
      return (await knex<KeyRow>('signing_keys').orderBy('created_at', 'desc')).map(keyOf);
    },
    async add(key) {
      await knex.transaction(async (transaction) => {
        await transaction('signing_keys').whereNull('retired_at').update({ retired_at: key.createdAt });
        await transaction('signing_keys').insert(rowOf(key));
      });
    },
    async addFirst(key) {
      // Several nodes may start at once: they use the same name, so one key is kept.
      await knex('signing_keys').insert(rowOf(key)).onConflict('kid').ignore();
    },
    async deleteRetired(retiredBefore) {
      await knex('signing_keys').where('retired_at', '<', retiredBefore).delete();
    },

    async secret(name) {
      const row = await knex<{ name: string; value: string }>('secrets').where({ name }).first('value');
      return row?.value;
    },
    async addSecret(name, value) {
      await knex('secrets').insert({ name, value }).onConflict('name').ignore();
    },
  };
}

function keyOf(row: KeyRow): SigningKey {
  return {
    kid: row.kid,
    publicJwk: row.public_jwk,
    privateJwk: row.private_jwk,
    createdAt: Number(row.created_at),
    retiredAt: numberOrNull(row.retired_at),
  };
}

function rowOf(key: SigningKey): KeyRow {
  return {
    kid: key.kid,
    public_jwk: key.publicJwk,
    private_jwk: key.privateJwk,
    created_at: key.createdAt,
    retired_at: key.retiredAt,
  };
}
