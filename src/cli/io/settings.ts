/** The settings of a command: the environment, overridden by its options. */
import { type Config, type Environment, readConfig } from '../../config.ts';
import type { Database } from '../../engines/engine.ts';

export interface DatabaseOptions {
  readonly databaseUrl?: string;
}

/** The settings of the environment, except those given in `overrides`. @throws ERR_REQUEST_INVALID */
export function readSettings(overrides: Environment): Config {
  const given = Object.entries(overrides).filter(([, value]) => value !== undefined);
  return readConfig({ ...process.env, ...Object.fromEntries(given) });
}

/** @throws ERR_REQUEST_INVALID */
export function readDatabase(options: DatabaseOptions): Database {
  return readSettings({ DATABASE_URL: options.databaseUrl }).database;
}
