/** Credentials of connectors, kept by knex: the same on both engines. */
import type { Knex } from 'knex';
import type { ClientRecord, ClientStore } from '../../identity/client-store.ts';
import { rowChange } from './row-change.ts';

interface ClientRow {
  client_id: string;
  name: string;
  secret_hash: string;
  scope: string;
  access_ids: string;
  created_at: number | string;
}

export function createClientStore(knex: Knex): ClientStore {
  return {
    async find(clientId) {
      const row = await knex<ClientRow>('clients').where({ client_id: clientId }).first();
      return row === undefined ? undefined : clientOf(row);
    },
    async list() {
      return (await knex<ClientRow>('clients').orderBy('created_at')).map(clientOf);
    },
    insert: (client) =>
      rowChange(
        knex('clients').insert({
          client_id: client.clientId,
          name: client.name,
          secret_hash: client.secretHash,
          scope: client.scope,
          access_ids: JSON.stringify(client.accessIds),
          created_at: client.createdAt,
        }),
      ),
    remove: (clientId) => rowChange(knex('clients').where({ client_id: clientId }).delete(), 1),
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
