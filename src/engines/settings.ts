import { z } from 'zod';
import { isOn, setting, Switch } from '../settings.ts';
import { readPostgresUrl } from './postgres-url.ts';

/** Says what is wrong with an address of PostgreSQL, without its text: it may hold a password. */
function requirePostgresUrl(url: string, context: z.RefinementCtx): void {
  if (!url.startsWith('postgres')) {
    return;
  }
  try {
    readPostgresUrl(url);
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) });
  }
}

export const engineSettings = {
  DATABASE_URL: setting(
    'databaseUrl',
    'the database; several nodes need PostgreSQL. It may name several hosts: the nodes use the one that accepts writes',
    z
      .string()
      .regex(/^(sqlite:.|postgres(ql)?:\/\/.)/, 'must be sqlite:PATH or postgres://…')
      .superRefine(requirePostgresUrl)
      .default('sqlite:./data/lastseen.db'),
  ),
  DATABASE_LISTEN_URL: setting(
    'databaseListenUrl',
    'direct address for LISTEN if `DATABASE_URL` is a pooler. Not set: the `DATABASE_URL`. `off`: the node polls',
    z
      .string()
      .regex(/^(off$|postgres(ql)?:\/\/.)/, 'must be postgres://… or off')
      .superRefine(requirePostgresUrl)
      .optional(),
  ),
  LASTSEEN_MIGRATE: setting(
    'shouldMigrate',
    'run missing migrations at start; with `off`, run `lastseen migrate`',
    Switch.default('on').transform(isOn),
  ),
};
