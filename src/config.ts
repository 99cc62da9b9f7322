/** The only reader of the environment: validated once, frozen, units in the names. */
import { z } from 'zod';
import type { Database } from './engines/engine.ts';
import { LastseenError, shown } from './errors.ts';
import type { OutsideProvider } from './identity/authenticator.ts';

const Port = z.coerce.number().int().min(0).max(65_535);
const Count = z.coerce.number().int().min(1);

/** What a timer takes. */
const MAX_TIMER_SECONDS = 2_147_483;

/** The environment as it may be given. Its keys are the settings table of the documentation. */
export const Settings = z.object({
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: Port.default(8080),
  DATABASE_URL: z
    .string()
    .regex(/^(sqlite:.|postgres(ql)?:\/\/.)/, 'must be sqlite:PATH or postgres://…')
    .default('sqlite:./data/lastseen.db'),
  DATABASE_LISTEN_URL: z
    .string()
    .regex(/^(off$|postgres(ql)?:\/\/.)/, 'must be postgres://… or off')
    .optional(),
  LASTSEEN_MIGRATE: z.enum(['on', 'off']).default('on'),
  LASTSEEN_AUTH: z.enum(['required', 'open']).default('required'),
  LASTSEEN_ADMIN_TOKEN: z
    .string()
    .regex(/^[\x21-\x7e]+$/, 'must be visible ASCII without spaces')
    .optional(),
  LASTSEEN_KEY_SECRET: z.string().min(16, 'must have at least 16 characters').optional(),
  LASTSEEN_JWKS_URL: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  LASTSEEN_JWT_ISSUER: z.string().optional(),
  LASTSEEN_JWT_AUDIENCE: z.string().optional(),
  LASTSEEN_ORIGINS: z.string().default(''),
  LASTSEEN_PHOENIX_USER_TOKEN: z.enum(['on', 'off']).default('on'),
  LASTSEEN_PHOENIX_PRESENCE: z.enum(['on', 'off']).default('on'),
  LASTSEEN_USERS_SOCKET_ORIGINS: z.string().default(''),
  LASTSEEN_USERS_SOCKET_API_KEY: z
    .string()
    .regex(/^[\x21-\x7e]+$/, 'must be visible ASCII without spaces')
    .optional(),
  LASTSEEN_USERS_SOCKET_PORT: Port.min(1).optional(),
  LASTSEEN_DEVICE_SECRET: z.string().min(16, 'must have at least 16 characters').optional(),
  LASTSEEN_DEVICE_TOKEN_SECONDS: Count.max(10 * 365 * 86_400).default(28 * 86_400),
  LASTSEEN_DEVICE_REFRESH_SECONDS: Count.max(MAX_TIMER_SECONDS).default(3 * 3_600),
  LASTSEEN_DEVICE_IDLE_SECONDS: Count.max(MAX_TIMER_SECONDS).default(60),
  LASTSEEN_RETENTION: z.string().default('').transform(retentionOf),
  LASTSEEN_LOG: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  LASTSEEN_MAX_BATCH_EVENTS: Count.default(10_000),
  LASTSEEN_MAX_BATCH_BYTES: Count.default(8 * 1024 * 1024),
  LASTSEEN_MAX_PAYLOAD_BYTES: Count.default(1024 * 1024),
  LASTSEEN_MAX_CONNECTIONS: Count.default(10_000),
  LASTSEEN_MAX_CONNECTIONS_PER_ACCESS_ID: Count.default(10_000),
  LASTSEEN_MAX_CONNECTIONS_PER_PRINCIPAL: Count.default(10_000),
  LASTSEEN_MAX_REQUESTS_PER_SECOND: z.coerce.number().int().min(0).default(0),
  LASTSEEN_MAX_EVENTS_PER_SECOND: z.coerce.number().int().min(0).default(0),
  LASTSEEN_QUERY_TIMEOUT_MS: Count.max(3_600_000).default(30_000),
  LASTSEEN_QUERY_CONCURRENCY: Count.max(64).default(2),
  LASTSEEN_QUERY_MAX_ROWS: Count.default(100_000),
  LASTSEEN_QUERY_MAX_BYTES: Count.max(268_435_456).default(16 * 1024 * 1024),
  LASTSEEN_QUERY_MEMORY_BYTES: Count.min(134_217_728).default(512 * 1024 * 1024),
  LASTSEEN_STALL_SECONDS: Count.default(300),
  LASTSEEN_REQUEST_SECONDS: Count.default(60),
});

export interface Config {
  readonly host: string;
  readonly port: number;
  readonly database: Database;
  readonly retention: Retention;
  readonly shouldMigrate: boolean;
  readonly isAuthOpen: boolean;
  readonly adminToken: string | undefined;
  /** Seals the private signing keys in the database. */
  readonly keySecret: string | undefined;
  /** Whether the UUID of a registered user opens a Phoenix socket. */
  readonly isUserTokenAllowed: boolean;
  /** Whether those who have joined a Phoenix topic are shown to one another. */
  readonly hasPresence: boolean;
  /** An identity provider whose tokens are taken beside our own. */
  readonly outside: OutsideProvider | undefined;
  /** Exact origins, or patterns that must match the whole origin; empty: same origin only. */
  readonly origins: readonly (string | RegExp)[];
  /** Patterns for the whole origin of a page that may open the users socket; empty: no page may. */
  readonly usersSocketOrigins: readonly RegExp[];
  /** Who brings it may see and change every user over the users socket. */
  readonly usersSocketApiKey: string | undefined;
  /** A port of its own for the users socket, beside its path. */
  readonly usersSocketPort: number | undefined;
  /** Encrypts the tokens of devices; without it a secret made at first use and kept in the database. */
  readonly deviceSecret: string | undefined;
  readonly deviceTokenSeconds: number;
  /** How often a device is sent a new token. */
  readonly deviceRefreshMs: number;
  /** A device from which nothing came for so long is closed. */
  readonly deviceIdleMs: number;
  readonly logLevel: string;
  readonly maxBatchEvents: number;
  readonly maxBatchBytes: number;
  readonly maxPayloadBytes: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerAccessId: number;
  readonly maxConnectionsPerPrincipal: number;
  /** A principal's; 0: no limit. */
  readonly maxRequestsPerSecond: number;
  readonly maxEventsPerSecond: number;
  readonly queryTimeoutMs: number;
  readonly queryConcurrency: number;
  readonly queryMaxRows: number;
  readonly queryMaxBytes: number;
  readonly queryMemoryBytes: number;
  readonly stallTimeoutMs: number;
  /** Time for a request to come whole. */
  readonly requestTimeoutMs: number;
}

/** A name=value map, as `process.env` is. An empty value counts as not set. */
export type Environment = Readonly<Record<string, string | undefined>>;

const SECRETS = new Set([
  'LASTSEEN_ADMIN_TOKEN',
  'LASTSEEN_KEY_SECRET',
  'LASTSEEN_USERS_SOCKET_API_KEY',
  'LASTSEEN_DEVICE_SECRET',
]);

/** @throws ERR_REQUEST_INVALID naming the setting and what is wrong with it; never its value if it is a secret. */
export function readConfig(environment: Environment): Config {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([name, value]) => name in Settings.shape && value !== ''),
  );
  const parsed = Settings.safeParse(given);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const name = String(issue?.path[0]);
    const got = SECRETS.has(name) || name.startsWith('DATABASE_') ? '' : `, got ${shown(given[name])}`;
    throw invalid(`${name}: ${issue?.message ?? 'is invalid'}${got}`);
  }
  const settings = parsed.data;
  const isAuthOpen = settings.LASTSEEN_AUTH === 'open';
  if (isAuthOpen && !isLoopback(settings.HOST)) {
    throw invalid(
      `LASTSEEN_AUTH: "open" serves on a loopback address only, and HOST is ${shown(settings.HOST)}`,
    );
  }
  return Object.freeze({
    host: settings.HOST,
    port: settings.PORT,
    database: databaseOf(settings.DATABASE_URL, settings.DATABASE_LISTEN_URL),
    retention: settings.LASTSEEN_RETENTION,
    shouldMigrate: settings.LASTSEEN_MIGRATE === 'on',
    isAuthOpen,
    adminToken: settings.LASTSEEN_ADMIN_TOKEN,
    keySecret: settings.LASTSEEN_KEY_SECRET,
    isUserTokenAllowed: settings.LASTSEEN_PHOENIX_USER_TOKEN === 'on',
    hasPresence: settings.LASTSEEN_PHOENIX_PRESENCE === 'on',
    outside: outsideOf(settings),
    origins: listOf(settings.LASTSEEN_ORIGINS).map(originPattern),
    usersSocketOrigins: listOf(settings.LASTSEEN_USERS_SOCKET_ORIGINS).map(anchoredPattern),
    usersSocketApiKey: settings.LASTSEEN_USERS_SOCKET_API_KEY,
    usersSocketPort: settings.LASTSEEN_USERS_SOCKET_PORT,
    deviceSecret: settings.LASTSEEN_DEVICE_SECRET,
    deviceTokenSeconds: settings.LASTSEEN_DEVICE_TOKEN_SECONDS,
    deviceRefreshMs: settings.LASTSEEN_DEVICE_REFRESH_SECONDS * 1000,
    deviceIdleMs: settings.LASTSEEN_DEVICE_IDLE_SECONDS * 1000,
    logLevel: settings.LASTSEEN_LOG,
    maxBatchEvents: settings.LASTSEEN_MAX_BATCH_EVENTS,
    maxBatchBytes: settings.LASTSEEN_MAX_BATCH_BYTES,
    maxPayloadBytes: settings.LASTSEEN_MAX_PAYLOAD_BYTES,
    maxConnections: settings.LASTSEEN_MAX_CONNECTIONS,
    maxConnectionsPerAccessId: settings.LASTSEEN_MAX_CONNECTIONS_PER_ACCESS_ID,
    maxConnectionsPerPrincipal: settings.LASTSEEN_MAX_CONNECTIONS_PER_PRINCIPAL,
    maxRequestsPerSecond: settings.LASTSEEN_MAX_REQUESTS_PER_SECOND,
    maxEventsPerSecond: settings.LASTSEEN_MAX_EVENTS_PER_SECOND,
    queryTimeoutMs: settings.LASTSEEN_QUERY_TIMEOUT_MS,
    queryConcurrency: settings.LASTSEEN_QUERY_CONCURRENCY,
    queryMaxRows: settings.LASTSEEN_QUERY_MAX_ROWS,
    queryMaxBytes: settings.LASTSEEN_QUERY_MAX_BYTES,
    queryMemoryBytes: settings.LASTSEEN_QUERY_MEMORY_BYTES,
    stallTimeoutMs: settings.LASTSEEN_STALL_SECONDS * 1000,
    requestTimeoutMs: settings.LASTSEEN_REQUEST_SECONDS * 1000,
  });
}

/** How long events are kept; nothing given keeps all. */
export interface Retention {
  /** Events older than this, by the time of recording, are forgotten. */
  readonly maxAgeMs?: number;
  /** Of each access_id so many of the latest events are kept. */
  readonly keepPerAccessId?: number;
}

const AGE_UNITS_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** `30d`, `1000/access_id`, or both with a comma between them. */
function retentionOf(text: string, context: z.RefinementCtx): Retention {
  let retention: Retention = {};
  for (const part of text.split(',').map((one) => one.trim())) {
    const age = /^([1-9]\d{0,8})([smhdw])$/.exec(part);
    const count = /^([1-9]\d{0,8})\/access_id$/.exec(part);
    if (age !== null) {
      retention = { ...retention, maxAgeMs: Number(age[1]) * (AGE_UNITS_MS[age[2] ?? ''] ?? 0) };
    } else if (count !== null) {
      retention = { ...retention, keepPerAccessId: Number(count[1]) };
    } else if (part !== '') {
      context.addIssue({
        code: 'custom',
        message: 'must be an age such as 30d, or a count such as 1000/access_id',
      });
      return z.NEVER;
    }
  }
  return retention;
}

function outsideOf(settings: z.infer<typeof Settings>): OutsideProvider | undefined {
  const {
    LASTSEEN_JWKS_URL: jwksUrl,
    LASTSEEN_JWT_ISSUER: issuer,
    LASTSEEN_JWT_AUDIENCE: audience,
  } = settings;
  if (jwksUrl === undefined && issuer === undefined && audience === undefined) {
    return undefined;
  }
  if (jwksUrl === undefined || issuer === undefined || audience === undefined) {
    const missing = jwksUrl === undefined ? 'JWKS_URL' : issuer === undefined ? 'JWT_ISSUER' : 'JWT_AUDIENCE';
    throw invalid(`LASTSEEN_${missing}: must be set beside the other settings of the identity provider`);
  }
  if (issuer === 'lastseen') {
    throw invalid('LASTSEEN_JWT_ISSUER: "lastseen" is our own name');
  }
  return { jwksUrl, issuer, audience };
}

function databaseOf(url: string, listenUrl: string | undefined): Database {
  if (url.startsWith('sqlite:')) {
    return { kind: 'sqlite', path: url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '') };
  }
  return { kind: 'postgres', url, listenUrl: listenUrl === 'off' ? undefined : (listenUrl ?? url) };
}

/** A database URL as a log may show it: without user and password. */
function databaseShown(database: Database): string {
  if (database.kind === 'sqlite') {
    return `sqlite:${database.path}`;
  }
  try {
    const { host, pathname } = new URL(database.url);
    return `postgres://${host}${pathname}`;
  } catch {
    return 'postgres://[redacted]';
  }
}

/** True for addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** `https://app.example` stands for itself; what begins with `^` is a pattern for the whole origin. */
function originPattern(text: string): string | RegExp {
  if (!text.startsWith('^')) {
    return text.replace(/\/$/, '').toLowerCase();
  }
  try {
    return new RegExp(`^(?:${text.slice(1).replace(/\$$/, '')})$`);
  } catch (error) {
    throw invalid(`LASTSEEN_ORIGINS: ${shown(text)} is not a pattern`, error);
  }
}

/** The pattern must match the whole origin, whether it says so or not. */
function anchoredPattern(text: string): RegExp {
  try {
    // By itself first: within a group more would be a pattern.
    return new RegExp(`^(?:${new RegExp(text).source})$`);
  } catch (error) {
    throw invalid(`LASTSEEN_USERS_SOCKET_ORIGINS: ${shown(text)} is not a pattern`, error);
  }
}

function listOf(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function invalid(message: string, cause?: unknown): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', message, { cause });
}

/** The settings as the operator may see them: no secret. */
export function settingsShown(config: Config): Record<string, unknown> {
  const {
    adminToken,
    keySecret,
    deviceSecret,
    usersSocketApiKey,
    usersSocketOrigins,
    origins,
    database,
    ...rest
  } = config;
  return {
    ...rest,
    database: databaseShown(database),
    listen: database.kind === 'postgres' ? database.listenUrl !== undefined : undefined,
    origins: origins.map(String),
    usersSocketOrigins: usersSocketOrigins.map(String),
    usersSocketApiKey: usersSocketApiKey === undefined ? 'not set' : '[redacted]',
    adminToken: adminToken === undefined ? 'not set' : '[redacted]',
    keySecret: keySecret === undefined ? 'not set' : '[redacted]',
    deviceSecret: deviceSecret === undefined ? 'not set' : '[redacted]',
  };
}

/** What the commands that talk to a server need. */
export interface ClientConfig {
  /** Base URL of the server, without a slash at its end. */
  readonly url: string;
  readonly token: string | undefined;
}

const DEFAULT_URL = 'http://127.0.0.1:8080';

/** @throws ERR_REQUEST_INVALID when the URL is none */
export function readClientConfig(environment: Environment, url?: string): ClientConfig {
  const given = url ?? environment['LASTSEEN_URL'] ?? DEFAULT_URL;
  if (!URL.canParse(given) || !/^https?:/.test(given)) {
    throw invalid(`--url: must be an http or https URL, got ${shown(given)}`);
  }
  const token = environment['LASTSEEN_TOKEN'] ?? environment['LASTSEEN_ADMIN_TOKEN'];
  return { url: given.replace(/\/+$/, ''), token: token === '' ? undefined : token };
}
