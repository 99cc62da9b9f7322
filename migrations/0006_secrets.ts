/** Secrets that every node must know, by name: sealed when LASTSEEN_KEY_SECRET is set; see docs/decisions.md D18. */
import type { Knex } from 'knex';

export const name = '0006_secrets';

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('secrets', (table) => {
    table.text('name').primary();
    table.text('value').notNullable();
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('secrets');
}
