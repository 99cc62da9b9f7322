/** Users, tokens, connector clients and the keys that sign. Secrets are here as hashes only; see docs/decisions.md D18. */
import type { Knex } from 'knex';

export const name = '0002_identity';

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('users', (table) => {
    table.text('id').primary();
    table.text('nickname');
    table.bigInteger('stamps_collected').notNullable().defaultTo(0);
    table.bigInteger('inserted_at').notNullable();
    table.bigInteger('updated_at').notNullable();
    table.index(['inserted_at', 'id']);
  });
  await knex.schema.alterTable('tokens', (table) => {
    table.text('subject');
    // JSON array of exact names, or prefixes that end in "*".
    table.text('access_ids');
    table.bigInteger('expires_at');
    table.text('client_id');
    table.bigInteger('revoked_at');
    // All tokens that were refreshed from one another.
    table.text('family');
    table.text('refresh_hash').unique();
    table.bigInteger('refresh_expires_at');
    table.bigInteger('refreshed_at');
    table.index(['family']);
    table.index(['client_id']);
    table.index(['subject']);
  });
  await knex.schema.createTable('clients', (table) => {
    table.text('client_id').primary();
    table.text('name').notNullable();
    table.text('secret_hash').notNullable();
    table.text('scope').notNullable();
    table.text('access_ids').notNullable();
    table.bigInteger('created_at').notNullable();
  });
  await knex.schema.createTable('signing_keys', (table) => {
    table.text('kid').primary();
    table.text('public_jwk').notNullable();
    table.text('private_jwk').notNullable();
    table.bigInteger('created_at').notNullable();
    // Signs nothing from then on; verifies until the last token that it has signed is over.
    table.bigInteger('retired_at');
  });
  await knex.schema.createTable('tickets', (table) => {
    table.text('ticket_hash').primary();
    table.text('principal').notNullable();
    table.bigInteger('expires_at').notNullable();
  });
}

export async function down(knex: Knex): Promise<void> {
  for (const table of ['tickets', 'signing_keys', 'clients', 'users']) await knex.schema.dropTable(table);
}
