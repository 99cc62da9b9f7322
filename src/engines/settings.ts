import { z } from 'zod';
import { isOn, setting, Switch } from '../settings.ts';

export const engineSettings = {
  DATABASE_URL: setting(
    'databaseUrl',
    'Where the log is kept: `sqlite:PATH`, or `postgres://…`. The URL may hold a password and is never shown.',
    z
      .string()
      .regex(/^(sqlite:.|postgres(ql)?:\/\/.)/, 'must be sqlite:PATH or postgres://…')
      .default('sqlite:./data/lastseen.db'),
  ),
  DATABASE_LISTEN_URL: setting(
    'databaseListenUrl',
    'PostgreSQL: direct address for LISTEN when DATABASE_URL leads through a pooler; `off` polls only. Default: DATABASE_URL.',
    z
      .string()
      .regex(/^(off$|postgres(ql)?:\/\/.)/, 'must be postgres://… or off')
      .optional(),
  ),
  LASTSEEN_MIGRATE: setting(
    'shouldMigrate',
    'Whether the server runs missing migrations at its start.',
    Switch.default('on').transform(isOn),
  ),
};
