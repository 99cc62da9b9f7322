/** Records of tokens, kept by knex: the same on both engines. */
import type { Knex } from 'knex';
import type { TokenRecord, TokenStore } from '../../identity/token-store.ts';
import { numberOrNull, rowChange } from './row-change.ts';

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

/** The row of the admin token has this name. */
const ADMIN = 'admin';

export function createTokenStore(knex: Knex): TokenStore {
  async function adminHash(): Promise<string | undefined> {
    const row = await knex<TokenRow>('tokens').where({ jti: ADMIN }).first('token_hash');
    return row?.token_hash;
  }

  const tokens = (): Knex.QueryBuilder<TokenRow, TokenRow[]> =>
    knex<TokenRow>('tokens').whereNot('jti', ADMIN);

  return {
    adminHash,
    async saveAdminHash(hash, createdAt) {
      await knex('tokens')
        .insert({ jti: ADMIN, token_hash: hash, scope: 'admin', created_at: createdAt })
        .onConflict('jti')
        .ignore();
      return (await adminHash()) ?? hash;
    },
    async find(jti) {
      const [row] = await tokens().where({ jti }).limit(1);
      return row === undefined ? undefined : tokenOf(row);
    },
    async findByRefreshHash(hash) {
      const [row] = await tokens().where({ refresh_hash: hash }).limit(1);
      return row === undefined ? undefined : tokenOf(row);
    },
    async list(limit, now) {
      const rows = await tokens()
        .where('expires_at', '>', now)
        .whereNull('revoked_at')
        .orderBy('created_at', 'desc')
        .limit(limit);
      return rows.map(tokenOf);
    },
    insert: (token, refreshHash) =>
      rowChange(
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
      rowChange(
        knex('tokens')
          .where({ jti })
          .whereNull('refreshed_at')
          .whereNull('revoked_at')
          .update({ refreshed_at: now }),
        1,
      ),
    revoke: (jti, now) => rowChange(knex('tokens').where({ jti }).update({ revoked_at: now })),
    revokeFamily: (family, now) => rowChange(knex('tokens').where({ family }).update({ revoked_at: now })),
    revokeOfClient: (clientId, now) =>
      rowChange(knex('tokens').where({ client_id: clientId }).update({ revoked_at: now })),
    revokeOfSubject: (subject, now) =>
      rowChange(knex('tokens').where({ subject }).update({ revoked_at: now })),
    async deleteExpired(now) {
      await tokens()
        .where('expires_at', '<', now)
        .where((over) => void over.whereNull('refresh_expires_at').orWhere('refresh_expires_at', '<', now))
        .delete();
    },
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
