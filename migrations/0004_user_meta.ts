/** What applications keep beside a user: a row a property, so that writers of different properties never meet. */
import type { Knex } from 'knex';

export const name = '0004_user_meta';

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('user_meta', (table) => {
    table.text('user_id').notNullable();
    table.text('property').notNullable();
    // JSON text, as it was sent.
    table.text('value').notNullable();
    table.integer('bytes').notNullable();
    table.primary(['user_id', 'property']);
  });
  await knex.schema.alterTable('users', (table) => {
    table.index(['nickname']);
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('users', (table) => {
    table.dropIndex(['nickname']);
  });
  await knex.schema.dropTable('user_meta');
}
