/** The operator's log: JSON lines, or readable text on a terminal. It redacts secrets (G12). */
import { type Logger, pino } from 'pino';
import { z } from 'zod';
import { setting } from './settings.ts';

export type { Logger };

export const loggerSettings = {
  LASTSEEN_LOG: setting(
    'logLevel',
    'log level. The log is JSON lines, or readable text on a terminal',
    z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  ),
};

/** The log redacts the values of these keys, at the top level, one level below, and among the headers of a request. */
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
