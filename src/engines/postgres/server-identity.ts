/**
 * Which PostgreSQL server answers a connection, and whether it accepts writes. Every role may read these values, unless
 * an operator revoked the functions. A value that may not be read is `null` and proves nothing.
 */
import pg from 'pg';

/**
 * A server as one connection sees it. The values are read in one statement, so that they belong to one server even
 * behind a pooler.
 */
export interface ServerIdentity {
  /** Made by initdb. A standby has that of its primary. `null`: the role may not read it. */
  readonly systemIdentifier: string | null;
  /** Raised by each promotion. `null`: the role may not read it, or the server is in recovery. */
  readonly timeline: number | null;
  /** Microseconds since 1970 at which the server was started, as text. */
  readonly startedAt: string;
}

export interface ServerState {
  readonly identity: ServerIdentity;
  /** Why the server accepts no writes; `undefined`: it accepts them. */
  readonly refusal: 'is in recovery' | 'is read-only' | undefined;
}

/** True if both are one running server: it was not restarted, promoted or replaced in between. */
export function isSameServer(a: ServerIdentity, b: ServerIdentity): boolean {
  return (
    a.startedAt === b.startedAt && a.timeline === b.timeline && a.systemIdentifier === b.systemIdentifier
  );
}

/**
 * True if it is proven that both have one history: no standby was promoted in between. It stays true over a restart of
 * the server. Of a server that accepts writes, since a server leaves recovery only once after each start.
 */
export function isSameTimeline(a: ServerIdentity, b: ServerIdentity): boolean {
  if (isSameServer(a, b)) {
    return true;
  }
  const isKnown = a.systemIdentifier !== null && a.timeline !== null;
  return isKnown && a.systemIdentifier === b.systemIdentifier && a.timeline === b.timeline;
}

/** Text alone, so that it reads the same whatever types a connection parses. */
interface StateRow {
  readonly is_in_recovery: 'true' | 'false';
  readonly is_read_only: 'true' | 'false';
  readonly started_at: string;
  readonly system_identifier: string | null;
  readonly wal_file: string | null;
}

/** The first eight digits of the name of a WAL file are the timeline in base 16. */
const TIMELINE_DIGITS = 8;

/** SQLSTATE of a function that the role may not call. */
const INSUFFICIENT_PRIVILEGE = '42501';

const stateSql = (systemIdentifier: string, walFile: string): string => `
  select pg_is_in_recovery()::text as is_in_recovery,
         (current_setting('transaction_read_only') = 'on')::text as is_read_only,
         (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint::text as started_at,
         ${systemIdentifier} as system_identifier,
         ${walFile} as wal_file`;

const SYSTEM_IDENTIFIER = '(select system_identifier::text from pg_control_system())';
const WAL_FILE = 'case when not pg_is_in_recovery() then pg_walfile_name(pg_current_wal_lsn()) end';

/** From all values to those that no operator revokes. PostgreSQL checks the right before the `case` runs. */
const STATE_SQLS = [
  stateSql(SYSTEM_IDENTIFIER, WAL_FILE),
  stateSql('null', WAL_FILE),
  stateSql(SYSTEM_IDENTIFIER, 'null'),
  stateSql('null', 'null'),
];

/** Asks the server behind a connection. Outside a transaction: a statement that is refused is asked again without. */
export async function readServerState(connection: Pick<pg.ClientBase, 'query'>): Promise<ServerState> {
  for (const [attempt, sql] of STATE_SQLS.entries()) {
    try {
      const { rows } = await connection.query<StateRow>(sql);
      return stateOf(rows[0]);
    } catch (error) {
      const isRefused = error instanceof pg.DatabaseError && error.code === INSUFFICIENT_PRIVILEGE;
      if (!isRefused || attempt === STATE_SQLS.length - 1) {
        throw error;
      }
    }
  }
  throw new Error('the server did not say what it is');
}

function stateOf(row: StateRow | undefined): ServerState {
  if (row === undefined) {
    throw new Error('the server did not say what it is');
  }
  const { system_identifier: systemIdentifier, wal_file: walFile } = row;
  return {
    identity: {
      systemIdentifier,
      timeline: walFile === null ? null : Number.parseInt(walFile.slice(0, TIMELINE_DIGITS), 16),
      startedAt: row.started_at,
    },
    refusal: refusalOf(row),
  };
}

function refusalOf(row: StateRow): ServerState['refusal'] {
  if (row.is_in_recovery === 'true') {
    return 'is in recovery';
  }
  return row.is_read_only === 'true' ? 'is read-only' : undefined;
}
