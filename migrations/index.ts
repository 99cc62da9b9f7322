/** The migrations in their order. Numbered, and never edited once released. */
import type { Knex } from 'knex';
import * as log from './0001_log.ts';
import * as identity from './0002_identity.ts';
import * as secrets from './0005_secrets.ts';

export interface Migration {
  readonly name: string;
  up(knex: Knex): Promise<void>;
  down(knex: Knex): Promise<void>;
}

export const migrations: readonly Migration[] = [log, identity, secrets];
