/** The only reader of the environment: every room's settings, validated once and frozen. */
import { querySettings } from './analysis/settings.ts';
import { deliverySettings } from './delivery/settings.ts';
import type { Database } from './engines/engine.ts';
import { withoutSecrets } from './engines/postgres-url.ts';
import { engineSettings } from './engines/settings.ts';
import { LastseenError, quote } from './errors.ts';
import { fedecksSettings } from './gateways/fedecks/settings.ts';
import { notifierSettings } from './gateways/notifier/settings.ts';
import { phoenixSettings } from './gateways/phoenix/settings.ts';
import { usersSocketSettings } from './gateways/users-socket/settings.ts';
import { httpSettings } from './http/settings.ts';
import type { IdentityProvider } from './identity/authenticator.ts';
import { identitySettings } from './identity/settings.ts';
import { logSettings } from './log/settings.ts';
import { loggerSettings } from './logger.ts';
import type { Setting, ValuesOf } from './settings.ts';

/** Every setting by the name of its variable. */
export const SETTINGS = {
  ...httpSettings,
  ...engineSettings,
  ...identitySettings,
  ...logSettings,
  ...notifierSettings,
  ...deliverySettings,
  ...phoenixSettings,
  ...usersSocketSettings,
  ...fedecksSettings,
  ...querySettings,
  ...loggerSettings,
};

/** The settings as they were read, and what several of them say together. */
export interface Config extends ValuesOf<typeof SETTINGS> {
  readonly database: Database;
  /** An identity provider whose tokens are accepted beside the service's own. */
  readonly outside: IdentityProvider | undefined;
}

/** A name=value map, as `process.env` is. An empty value counts as not set. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** @throws ERR_REQUEST_INVALID naming the setting and what is wrong with it; never its value if it is a secret */
export function readConfig(environment: Environment): Config {
  const values: Record<string, unknown> = {};
  for (const [name, { key, schema, isSecret }] of Object.entries<Setting>(SETTINGS)) {
    const given = environment[name] === '' ? undefined : environment[name];
    const parsed = schema.safeParse(given);
    if (!parsed.success) {
      const isHidden = isSecret || name.startsWith('DATABASE_');
      const got = isHidden ? '' : `, got ${quote(given)}`;
      throw invalid(`${name}: ${parsed.error.issues[0]?.message ?? 'is invalid'}${got}`);
    }
    values[key] = parsed.data;
  }
  const settings = values as unknown as ValuesOf<typeof SETTINGS>;
  if (settings.isAuthOpen && !isLoopback(settings.host)) {
    throw invalid(
      `LASTSEEN_AUTH: "open" serves on a loopback address only, and HOST is ${quote(settings.host)}`,
    );
  }
  return Object.freeze({ ...settings, database: databaseOf(settings), outside: providerOf(settings) });
}

function providerOf({
  jwksUrl,
  jwtIssuer: issuer,
  jwtAudience: audience,
}: ValuesOf<typeof identitySettings>): IdentityProvider | undefined {
  if (jwksUrl === undefined && issuer === undefined && audience === undefined) {
    return undefined;
  }
  if (jwksUrl === undefined || issuer === undefined || audience === undefined) {
    const missing = jwksUrl === undefined ? 'JWKS_URL' : issuer === undefined ? 'JWT_ISSUER' : 'JWT_AUDIENCE';
    throw invalid(`LASTSEEN_${missing}: must be set beside the other settings of the identity provider`);
  }
  if (issuer === 'lastseen') {
    throw invalid('LASTSEEN_JWT_ISSUER: "lastseen" is the issuer of the service itself');
  }
  return { jwksUrl, issuer, audience };
}

function databaseOf({ databaseUrl: url, databaseListenUrl }: ValuesOf<typeof engineSettings>): Database {
  if (url.startsWith('sqlite:')) {
    return { kind: 'sqlite', path: url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '') };
  }
  return {
    kind: 'postgres',
    url,
    listenUrl: databaseListenUrl === 'off' ? undefined : (databaseListenUrl ?? url),
  };
}

/** True for addresses that only this machine can reach. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** The settings as the operator may see them: every secret, and the password of a database URL, is redacted. */
export function redacted(config: Config): Record<string, unknown> {
  const { database, outside } = config;
  const settings: Record<string, unknown> = {};
  for (const [name, { key, isSecret }] of Object.entries<Setting>(SETTINGS)) {
    if (name.startsWith('DATABASE_')) {
      continue;
    }
    const value = (config as unknown as Readonly<Record<string, unknown>>)[key];
    settings[key] = isSecret ? (value === undefined ? 'not set' : '[redacted]') : withTexts(value);
  }
  return {
    ...settings,
    outside,
    database: databaseText(database),
    listen: database.kind === 'postgres' ? database.listenUrl !== undefined : undefined,
  };
}

/** Patterns as their text: as JSON they would be empty objects. */
function withTexts(value: unknown): unknown {
  return Array.isArray(value) ? value.map(String) : value;
}

/** A database URL without user and password. */
function databaseText(database: Database): string {
  return database.kind === 'sqlite' ? `sqlite:${database.path}` : withoutSecrets(database.url);
}

function invalid(message: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', message);
}

/** What the commands that talk to a server need. */
export interface ClientConfig {
  /** Base URL of the server, without a slash at its end. */
  readonly url: string;
  readonly token: string | undefined;
}

const DEFAULT_URL = 'http://127.0.0.1:8080';

/** @throws ERR_REQUEST_INVALID when the URL is not an http or https URL */
export function readClientConfig(environment: Environment, url?: string): ClientConfig {
  const given = url ?? environment['LASTSEEN_URL'] ?? DEFAULT_URL;
  if (!URL.canParse(given) || !/^https?:/.test(given)) {
    throw invalid(`--url: must be an http or https URL, got ${quote(given)}`);
  }
  const token = environment['LASTSEEN_TOKEN'] ?? environment['LASTSEEN_ADMIN_TOKEN'];
  return { url: given.replace(/\/+$/, ''), token: token === '' ? undefined : token };
}
