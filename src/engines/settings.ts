import { z } from 'zod';
import { isOn, setting, Switch } from '../settings.ts';

export const engineSettings = {
  DATABASE_URL: setting(
    'databaseUrl',
    'the database; several nodes need PostgreSQL',
    z
      .string()
      .regex(/^(sqlite:.|postgres(ql)?:\/\/.)/, 'must be sqlite:PATH or postgres://…')
      .default('sqlite:./data/lastseen.db'),
  ),
  DATABASE_LISTEN_URL: setting(
    'databaseListenUrl',
    'direct address for LISTEN if `DATABASE_URL` is a pooler. Not set: the `DATABASE_URL`. `off`: the node polls',
    z
      .string()
      .regex(/^(off$|postgres(ql)?:\/\/.)/, 'must be postgres://… or off')
      .optional(),
  ),
  LASTSEEN_MIGRATE: setting(
    'shouldMigrate',
    'run missing migrations at start; with `off`, run `lastseen migrate`',
    Switch.default('on').transform(isOn),
  ),
};
