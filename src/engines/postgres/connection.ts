/**
 * Connections to PostgreSQL. Every connection of the server, of its tools and of queries is opened here: by `connect`, or
 * by a pool of `createPool`. Of the hosts of an address, a connection takes the one that accepts writes: all are asked at
 * once, since one that stands still would delay those after it. A connection then belongs to that server until its end.
 */
import pg from 'pg';
import { LastseenError } from '../../errors.ts';
import type { Timers } from '../../runtime.ts';
import { type PostgresHost, readPostgresUrl } from '../postgres-url.ts';
import { storeFailed } from '../refusal.ts';
import {
  CONNECT_TIMEOUT_MS,
  destroyConnection,
  findWritable,
  NoWritableServer,
  readStateInTime,
} from './host-choice.ts';
import { isSameServer, type ServerIdentity, type ServerState } from './server-identity.ts';

export { destroyConnection };

/** A statement without an answer after this time has lost its server. */
const QUERY_TIMEOUT_MS = 15_000;

/** Until statements are given up when their pool ends. */
const END_TIMEOUT_MS = 2_000;

/** Time for a free connection of a pool, or a new one. */
const POOL_TIMEOUT_MS = 10_000;

const BIGINT = pg.types.builtins.INT8;
const JSON_TYPE = pg.types.builtins.JSON;

/** Bigints become numbers, and are checked; `json` stays text. */
export const LOG_TYPES = new pg.TypeOverrides();
LOG_TYPES.setTypeParser(BIGINT, safeInteger);
LOG_TYPES.setTypeParser(JSON_TYPE, (text: string) => text);

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) {
    throw new Error(`${text} is beyond 2^53`);
  }
  return value;
}

export interface ConnectionOptions {
  /** What the server's list of connections shows. Default `lastseen`. */
  readonly name?: string;
  /** Default: those of the log, `LOG_TYPES`. */
  readonly types?: pg.CustomTypesConfig;
  /** A statement without an answer after this time has lost its server; 0: no limit. Default 15 s. */
  readonly queryTimeoutMs?: number;
  /** Default `writable`. */
  readonly access?: Access;
}

/**
 * What a connection needs of its server. `writable`: it accepts writes. If the address has one host, `primary` also takes
 * one that is read-only by its settings, and `any` also a standby.
 */
export type Access = 'writable' | 'primary' | 'any';

/** True if a server that accepts no writes for this reason will do. */
export function isEnough(access: Access, refusal: ServerState['refusal'], hosts: number): boolean {
  if (refusal === undefined) {
    return true;
  }
  return hosts === 1 && (access === 'any' || (access === 'primary' && refusal === 'is read-only'));
}

interface SeekingConfig extends pg.ClientConfig {
  readonly seek: { readonly hosts: readonly PostgresHost[]; readonly access: Access };
}

function configOf(url: string, options: ConnectionOptions): SeekingConfig {
  const {
    name = 'lastseen',
    types = LOG_TYPES,
    queryTimeoutMs = QUERY_TIMEOUT_MS,
    access = 'writable',
  } = options;
  const hosts = readPostgresUrl(url);
  return {
    seek: { hosts, access },
    connectionString: hosts[0]?.url,
    application_name: name,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: queryTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    types,
  };
}

/** As the types of `pg` have it: one function for both cases. */
type ConnectCallback = ((error: Error) => void) | ((error: null, client: pg.Client) => void);

/** A client of `pg` that chooses its host when it connects, and refuses a server that accepts no writes. */
class SeekingClient extends pg.Client {
  readonly #seek: SeekingConfig['seek'];
  #identity: ServerIdentity | undefined;

  constructor(config: SeekingConfig) {
    super(config);
    this.#seek = config.seek;
    // Whoever waits for an answer hears of the loss; without a listener it would end the process.
    this.on('error', () => undefined);
  }

  /** The server as the connection found it. */
  get identity(): ServerIdentity {
    if (this.#identity === undefined) {
      throw new Error('the connection is not open');
    }
    return this.#identity;
  }

  override connect(): Promise<this>;
  override connect(callback: ConnectCallback): void;
  override connect(callback?: ConnectCallback): unknown {
    const opened = this.#open();
    if (callback === undefined) {
      return opened;
    }
    const settle = callback as (error: unknown, client: pg.Client) => void;
    opened.then(
      () => {
        settle(null, this);
      },
      (error: unknown) => {
        settle(error, this);
      },
    );
    return undefined;
  }

  async #open(): Promise<this> {
    const { hosts, access } = this.#seek;
    if (hosts.length > 1) {
      const { host, port } = await findWritable(hosts);
      // `pg` reads them when it connects.
      this.host = host;
      this.port = port;
    }
    if (this.connection.stream.destroyed) {
      throw new Error('the connection was given up before it was open');
    }
    await super.connect();
    try {
      const { identity, refusal } = await readStateInTime(this);
      if (!isEnough(access, refusal, hosts.length)) {
        throw new NoWritableServer(`the server ${refusal}`);
      }
      this.#identity = identity;
    } catch (error) {
      destroyConnection(this);
      throw error;
    }
    return this;
  }
}

export interface ConnectOptions extends ConnectionOptions {
  /** The connection is lost. It may be lost before `connect` has returned it. */
  readonly onLost?: (client: pg.Client) => void;
}

/** An open connection, and the server that it found. */
export type Connection = pg.Client & { readonly identity: ServerIdentity };

/** Opens a connection whose later failures go to `onLost`: it throws none of them. */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Connection> {
  const client = new SeekingClient(configOf(url, options));
  client.on('error', () => {
    options.onLost?.(client);
  });
  try {
    await client.connect();
  } catch (error) {
    destroyConnection(client);
    throw error;
  }
  return client;
}

export interface PoolOptions extends ConnectionOptions {
  readonly max: number;
  /** Idle connections do not keep the process running. Default false. */
  readonly isBackground?: boolean;
}

/** A pool whose connections can be dropped together. */
export interface ConnectionPool extends pg.Pool {
  /** Closes connections, also those in use: what waits for an answer fails. Those to the server `except` stay. */
  dropConnections(except?: ServerIdentity): void;
}

/** A pool of connections, each to the host that accepts writes when it is opened. */
export function createPool(
  url: string,
  { max, isBackground = false, ...options }: PoolOptions,
): ConnectionPool {
  const pool = new pg.Pool({
    ...configOf(url, options),
    Client: SeekingClient as unknown as new () => pg.ClientBase,
    max,
    connectionTimeoutMillis: POOL_TIMEOUT_MS,
    allowExitOnIdle: isBackground,
  });
  const open = new Set<pg.PoolClient & Connection>();
  // A connection that breaks while idle is replaced when the next is asked for.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => {
    open.add(client as pg.PoolClient & Connection);
  });
  pool.on('remove', (client) => {
    open.delete(client as pg.PoolClient & Connection);
  });
  return Object.assign(pool, {
    dropConnections(except?: ServerIdentity) {
      for (const client of open) {
        if (except === undefined || !isSameServer(client.identity, except)) {
          client.connection.stream.destroy();
        }
      }
    },
  });
}

/** Ends a pool. Statements under way have 2 s, since their server may stand still. */
export async function endPool(pool: ConnectionPool, timers: Timers): Promise<void> {
  const cancel = timers.after(END_TIMEOUT_MS, () => {
    pool.dropConnections();
  });
  await pool.end();
  cancel();
  // The pool has said goodbye, and does not wait for the server; its sockets would.
  pool.dropConnections();
}

/** The function of PostgreSQL that warns when it has committed without waiting for its synchronous standby. */
const WAIT_FOR_STANDBY = 'SyncRepWaitForLSN';

/** True for the warning that the statement has committed on this server alone: its wait for the standby was cancelled. */
export function isUnreplicated({ routine }: { readonly routine: string | undefined }): boolean {
  return routine === WAIT_FOR_STANDBY;
}

/** SQLSTATE of a write on a server that has become a standby, or read-only. */
const READ_ONLY = '25006';

/** True when the server refused the statement and undid it, and the connection works on. */
export function isStatementError(error: unknown): boolean {
  return (
    error instanceof pg.DatabaseError && error.severity === 'ERROR' && !/^(08|57P)/.test(error.code ?? '')
  );
}

/** True when the server behind the connection accepts no writes any more: another connection may find one that does. */
export function isReadOnlyError(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === READ_ONLY;
}

/** The expected error for a store that cannot be reached now. It does not contain the address. */
export function toStoreError(error: unknown): LastseenError {
  if (error instanceof LastseenError) {
    return error;
  }
  const reason =
    error instanceof pg.DatabaseError
      ? error.message
      : ((error as { code?: string } | null)?.code ?? 'the connection was lost');
  return storeFailed(reason, error);
}
