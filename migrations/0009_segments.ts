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
  // An import makes this table before it runs the migrations.
  await knex.raw(
    'create table if not exists pending_import (id integer primary key, started_at bigint not null)',
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('pending_import');
  await knex.schema.dropTable('segments');
}
