/**
 * Chooses the host of an address that accepts writes. All hosts are asked at once: in turn, one that stands still would
 * delay those after it.
 */
import pg from 'pg';
import type { PostgresHost } from '../postgres-url.ts';
import { readServerState, type ServerState } from './server-identity.ts';

/** Until a server has accepted the user. */
export const CONNECT_TIMEOUT_MS = 5_000;

/** Until a server that accepted the user has said whether it accepts writes. */
const STATE_TIMEOUT_MS = 3_000;

/** No host of the address accepts writes now. The message names the hosts: it is for the operator. */
export class NoWritableServer extends Error {
  /** What clients may read. */
  readonly code = 'no server accepts writes';
}

/** The state of the server behind an open connection. */
export function readStateInTime(client: pg.Client): Promise<ServerState> {
  return readServerState({
    query: ((text: string) =>
      client.query({ text, query_timeout: STATE_TIMEOUT_MS } as pg.QueryConfig)) as pg.ClientBase['query'],
  });
}

/** The first host that says that it accepts writes. @throws NoWritableServer which says of each host why not */
export async function findWritable(
  hosts: readonly PostgresHost[],
): Promise<Pick<pg.Client, 'host' | 'port'>> {
  const asked = hosts.map((host) => askHost(host));
  try {
    return await Promise.any(asked.map(({ answer }) => answer));
  } catch (error) {
    const reasons = error instanceof AggregateError ? error.errors.map(reasonOf) : [reasonOf(error)];
    const message = hosts.map(({ name }, index) => `${name}: ${reasons[index] ?? 'no answer'}`).join('; ');
    throw new NoWritableServer(`no host accepts writes (${message})`, { cause: error });
  } finally {
    for (const { client } of asked) {
      destroyConnection(client);
    }
  }
}

function askHost({ url }: PostgresHost): {
  readonly client: pg.Client;
  readonly answer: Promise<pg.Client>;
} {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'lastseen probe',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  client.on('error', () => undefined);
  const ask = async (): Promise<pg.Client> => {
    await client.connect();
    const { refusal } = await readStateInTime(client);
    if (refusal !== undefined) {
      throw new Error(refusal);
    }
    return client;
  };
  return { client, answer: ask() };
}

/** Why a host was not taken. Its name is beside it: the code of a network error says the rest. */
function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return error instanceof pg.DatabaseError || code === undefined ? (message ?? 'no answer') : code;
}

/** Closes a connection without waiting for its server. */
export function destroyConnection(client: pg.Client): void {
  client.end().catch(() => undefined);
  client.connection.stream.destroy();
}
