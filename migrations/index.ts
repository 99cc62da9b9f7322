/** The migrations in their order. Numbered, and never edited once released. */
import type { Knex } from 'knex';
import * as log from './0001_log.ts';
import * as identity from './0002_identity.ts';
import * as analysis from './0003_analysis.ts';
import * as userMeta from './0004_user_meta.ts';
import * as shown from './0005_shown.ts';
import * as secrets from './0006_secrets.ts';
import * as lineage from './0007_lineage.ts';
import * as retention from './0008_retention.ts';
import * as segments from './0009_segments.ts';

export interface Migration {
  readonly name: string;
  up(knex: Knex): Promise<void>;
  down(knex: Knex): Promise<void>;
}

export const migrations: readonly Migration[] = [
  log,
  identity,
  analysis,
  userMeta,
  shown,
  secrets,
  lineage,
  retention,
  segments,
];
