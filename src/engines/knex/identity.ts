/** Users, tokens, clients and keys, kept by knex: the same on both engines. */
import type { Knex } from 'knex';
import type { ClientRecord, IdentityStore, SigningKey, TokenRecord, User } from '../../identity/store.ts';
import { rowChange as change } from './row-change.ts';
import { userMetaStore } from './user-meta.ts';

interface UserRow {
  id: string;
  nickname: string | null;
  stamps_collected: number | string;
  inserted_at: number | string;
  updated_at: number | string;
}

interface TokenRow {
  jti: string;
  token_hash: string;
  scope: string;
  created_at: number | string;
  subject: string;
  access_ids: string;
  expires_at: number | string;
  client_id: string | null;
  revoked_at: number | string | null;
  family: string;
  refresh_hash: string | null;
  refresh_expires_at: number | string | null;
  refreshed_at: number | string | null;
}

interface ClientRow {
  client_id: string;
  name: string;
  secret_hash: string;
  scope: string;
  access_ids: string;
  created_at: number | string;
}

interface KeyRow {
  kid: string;
  public_jwk: string;
  private_jwk: string;
  created_at: number | string;
  retired_at: number | string | null;
}

/** The admin's token stands among the tokens under this name. */
const ADMIN = 'admin';

export function identityStore(knex: Knex): IdentityStore {
  async function adminTokenHash(): Promise<string | undefined> {
    const row = await knex<TokenRow>('tokens').where({ jti: ADMIN }).first('token_hash');
    return row?.token_hash;
  }

  const tokens = (): Knex.QueryBuilder<TokenRow, TokenRow[]> =>
    knex<TokenRow>('tokens').whereNot('jti', ADMIN);

  return {
    adminTokenHash,
    async saveAdminTokenHash(hash) {
      await knex('tokens')
        .insert({ jti: ADMIN, token_hash: hash, scope: 'admin', created_at: Date.now() })
        .onConflict('jti')
        .ignore();
      return (await adminTokenHash()) ?? hash;
    },

    async user(id) {
      const row = await knex<UserRow>('users').where({ id }).first();
      return row === undefined ? undefined : userOf(row);
    },
    async users({ limit, after, nickname }) {
      const query = knex<UserRow>('users')
        .orderBy([{ column: 'inserted_at' }, { column: 'id' }])
        .limit(limit);
      if (nickname !== undefined) {
        void query.where({ nickname });
      }
      if (after !== undefined) {
        void query.where((either) => {
          void either
            .where('inserted_at', '>', after.insertedAt)
            .orWhere((same) => void same.where('inserted_at', after.insertedAt).where('id', '>', after.id));
        });
      }
      return (await query).map(userOf);
    },
    insertUser: (user) => change(knex('users').insert(userRow(user))),
    updateUser: (user) => change(knex('users').where({ id: user.id }).update(userRow(user)), 1),
    removeUser: (id) => change(knex('users').where({ id }).delete(), 1),
    ...userMetaStore(knex),

    async token(jti) {
      const [row] = await tokens().where({ jti }).limit(1);
      return row === undefined ? undefined : tokenOf(row);
    },
    async tokenByRefreshHash(hash) {
      const [row] = await tokens().where({ refresh_hash: hash }).limit(1);
      return row === undefined ? undefined : tokenOf(row);
    },
    async tokens(limit, now) {
      const rows = await tokens()
        .where('expires_at', '>', now)
        .whereNull('revoked_at')
        .orderBy('created_at', 'desc')
        .limit(limit);
      return rows.map(tokenOf);
    },
    insertToken: (token, refreshHash) =>
      change(
        knex('tokens').insert({
          jti: token.jti,
          token_hash: '',
          scope: token.scope,
          created_at: token.createdAt,
          subject: token.subject,
          access_ids: JSON.stringify(token.accessIds),
          expires_at: token.expiresAt,
          client_id: token.clientId,
          family: token.family,
          refresh_hash: refreshHash,
          refresh_expires_at: token.refreshExpiresAt,
        }),
      ),
    useRefresh: (jti, now) =>
      change(
        knex('tokens')
          .where({ jti })
          .whereNull('refreshed_at')
          .whereNull('revoked_at')
          .update({ refreshed_at: now }),
        1,
      ),
    revokeToken: (jti, now) => change(knex('tokens').where({ jti }).update({ revoked_at: now })),
    revokeFamily: (family, now) => change(knex('tokens').where({ family }).update({ revoked_at: now })),
    revokeClientTokens: (clientId, now) =>
      change(knex('tokens').where({ client_id: clientId }).update({ revoked_at: now })),
    revokeSubjectTokens: (subject, now) =>
      change(knex('tokens').where({ subject }).update({ revoked_at: now })),
    async forgetTokens(now) {
      await tokens()
        .where('expires_at', '<', now)
        .where((over) => void over.whereNull('refresh_expires_at').orWhere('refresh_expires_at', '<', now))
        .delete();
    },

    async client(clientId) {
      const row = await knex<ClientRow>('clients').where({ client_id: clientId }).first();
      return row === undefined ? undefined : clientOf(row);
    },
    async clients() {
      return (await knex<ClientRow>('clients').orderBy('created_at')).map(clientOf);
    },
    insertClient: (client) =>
      change(
        knex('clients').insert({
          client_id: client.clientId,
          name: client.name,
          secret_hash: client.secretHash,
          scope: client.scope,
          access_ids: JSON.stringify(client.accessIds),
          created_at: client.createdAt,
        }),
      ),
    removeClient: (clientId) => change(knex('clients').where({ client_id: clientId }).delete(), 1),

    async signingKeys() {
      return (await knex<KeyRow>('signing_keys').orderBy('created_at', 'desc')).map(keyOf);
    },
    async addSigningKey(key) {
      await knex.transaction(async (transaction) => {
        await transaction('signing_keys').whereNull('retired_at').update({ retired_at: key.createdAt });
        await transaction('signing_keys').insert(keyRow(key));
      });
    },
    async addFirstSigningKey(key) {
      // Of several nodes that start at once one makes the key: it is named by its place, so only one fits.
      await knex('signing_keys').insert(keyRow(key)).onConflict('kid').ignore();
    },
    async forgetSigningKeys(retiredBefore) {
      await knex('signing_keys').where('retired_at', '<', retiredBefore).delete();
    },

    async secret(name) {
      const row = await knex<{ name: string; value: string }>('secrets').where({ name }).first('value');
      return row?.value;
    },
    async addSecret(name, value) {
      await knex('secrets').insert({ name, value }).onConflict('name').ignore();
    },

    async saveTicket(hash, principal, expiresAt) {
      await knex('tickets').insert({ ticket_hash: hash, principal, expires_at: expiresAt });
    },
    async takeTicket(hash, now) {
      const taken = await knex<{ ticket_hash: string; principal: string; expires_at: number | string }>(
        'tickets',
      )
        .where({ ticket_hash: hash })
        .first('principal', 'expires_at');
      const removed = await knex('tickets').where({ ticket_hash: hash }).delete();
      await knex('tickets').where('expires_at', '<', now).delete();
      return taken !== undefined && removed === 1 && Number(taken.expires_at) > now
        ? taken.principal
        : undefined;
    },
  };
}

const numberOrNull = (value: number | string | null): number | null =>
  value === null ? null : Number(value);

function userOf(row: UserRow): User {
  return {
    id: row.id,
    nickname: row.nickname,
    stampsCollected: Number(row.stamps_collected),
    insertedAt: Number(row.inserted_at),
    updatedAt: Number(row.updated_at),
  };
}

function userRow(user: User): UserRow {
  return {
    id: user.id,
    nickname: user.nickname,
    stamps_collected: user.stampsCollected,
    inserted_at: user.insertedAt,
    updated_at: user.updatedAt,
  };
}

function tokenOf(row: TokenRow): TokenRecord {
  return {
    jti: row.jti,
    subject: row.subject,
    scope: row.scope,
    accessIds: JSON.parse(row.access_ids) as string[],
    clientId: row.client_id,
    createdAt: Number(row.created_at),
    expiresAt: Number(row.expires_at),
    revokedAt: numberOrNull(row.revoked_at),
    family: row.family,
    refreshExpiresAt: numberOrNull(row.refresh_expires_at),
    refreshedAt: numberOrNull(row.refreshed_at),
  };
}

function clientOf(row: ClientRow): ClientRecord {
  return {
    clientId: row.client_id,
    name: row.name,
    secretHash: row.secret_hash,
    scope: row.scope,
    accessIds: JSON.parse(row.access_ids) as string[],
    createdAt: Number(row.created_at),
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

function keyRow(key: SigningKey): KeyRow {
  return {
    kid: key.kid,
    public_jwk: key.publicJwk,
    private_jwk: key.privateJwk,
    created_at: key.createdAt,
    retired_at: key.retiredAt,
  };
}
