/** What the nodes of one log show one another while they live: who is present where. */
import type { Knex } from 'knex';

export const name = '0005_shown';

export async function up(knex: Knex): Promise<void> {
  // A process that is alone shows nothing to anybody.
  if (!isPostgres(knex)) return;
  await knex.schema.alterTable('nodes', (table) => {
    table.bigInteger('shown_version').notNullable().defaultTo(0);
  });
  await knex.schema.createTable('shown', (table) => {
    table.text('node_id').notNullable().references('nodes.node_id').onDelete('CASCADE');
    table.text('key').notNullable();
    table.text('value').notNullable();
    table.primary(['node_id', 'key']);
  });
}

export async function down(knex: Knex): Promise<void> {
  if (!isPostgres(knex)) return;
  await knex.schema.dropTable('shown');
  await knex.schema.alterTable('nodes', (table) => {
    table.dropColumn('shown_version');
  });
}

function isPostgres(knex: Knex): boolean {
  return (knex.client as { driverName: string }).driverName === 'pg';
}
