/**
 * What the tools keep beside the log: the digests of sealed segments (`lastseen verify`), and the mark of an import that
 * has begun and not ended, so that no server starts on the empty log that it left. See docs/decisions.md D44 and D45.
 */
import type { Knex } from 'knex';

export const name = '0009_segments';

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('segments', (table) => {
    table.bigInteger('first_position').primary();
    table.bigInteger('last_position').notNullable();
    // Events that the digest covers: retention may delete some later.
    table.integer('events').notNullable();
    table.text('sha256').notNullable();
    table.bigInteger('checked_at').notNullable();
  });
  await knex.schema.createTable('pending_import', (table) => {
    table.integer('id').primary();
    table.bigInteger('started_at').notNullable();
  });
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('pending_import');
  await knex.schema.dropTable('segments');
}
