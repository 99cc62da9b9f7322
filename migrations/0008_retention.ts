/** The time of the last run of retention by age, by the clock of the database: a later run recognizes a clock that jumped. */
import type { Knex } from 'knex';

export const name = '0008_retention';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('create table retention (id smallint primary key check (id = 1), seen_at bigint not null)');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table retention');
}
