/** The operator's log: JSON lines, or readable when standard output is a terminal. Secrets are cut out (G12). */
import { type Logger, pino } from 'pino';
import { z } from 'zod';
import { setting } from './settings.ts';

export type { Logger };

export const loggerSettings = {
  LASTSEEN_LOG: setting(
    'logLevel',
    'Least severe level that the log shows.',
    z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  ),
};

/** Keys whose values never reach a line, wherever they stand. */
const SECRET_KEYS = [
  'authorization',
  'token',
  'access_token',
  'refresh_token',
  'client_secret',
  'password',
  'cookie',
];

export function createLogger(level: string, isTerminal: boolean): Logger {
  return pino({
    level,
    base: null,
    redact: {
      paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `req.headers.${key}`]),
      censor: '[redacted]',
    },
    ...(isTerminal
      ? {
          transport: {
            target: 'pino-pretty',
            options: { ignore: 'pid,hostname', translateTime: 'HH:MM:ss' },
          },
        }
      : {}),
  });
}
