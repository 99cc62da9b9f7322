/** Connections to PostgreSQL: how they are set up, and what their failures mean. */
import pg from 'pg';
import { LastseenError } from '../../errors.ts';
import { storeFailed } from '../refusal.ts';

/** A statement without an answer for so long has lost its server. */
const QUERY_TIMEOUT_MS = 15_000;
const CONNECT_TIMEOUT_MS = 5_000;

const BIGINT = pg.types.builtins.INT8;
const JSON_TYPE = pg.types.builtins.JSON;

/** Bigints become numbers, and are checked; `json` stays text. */
const types = new pg.TypeOverrides();
types.setTypeParser(BIGINT, safeInteger);
types.setTypeParser(JSON_TYPE, (text: string) => text);

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) {
    throw new Error(`${text} is beyond 2^53`);
  }
  return value;
}

/** `name` appears in the server's list of connections. */
export function connectionConfig(url: string, name = 'lastseen'): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: name,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    types,
  };
}

export interface ConnectOptions {
  /** The connection is lost. It may be lost before `connect` has returned it. */
  readonly onLost?: (client: pg.Client) => void;
  /** What the server's list of connections shows. */
  readonly name?: string;
}

/** Opens a connection whose later failures go to `onLost`: it throws none of them. */
export async function connect(url: string, { onLost, name }: ConnectOptions = {}): Promise<pg.Client> {
  const client = new pg.Client(connectionConfig(url, name));
  client.on('error', () => {
    onLost?.(client);
  });
  try {
    await client.connect();
  } catch (error) {
    destroyConnection(client);
    throw error;
  }
  return client;
}

/** Closes a connection without waiting for its server. */
export function destroyConnection(client: pg.Client): void {
  const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } }).connection;
  client.end().catch(() => undefined);
  stream.destroy();
}

/** True when the server refused the statement and undid it, and the connection works on. */
export function isStatementError(error: unknown): boolean {
  return (
    error instanceof pg.DatabaseError && error.severity === 'ERROR' && !/^(08|57P)/.test(error.code ?? '')
  );
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
