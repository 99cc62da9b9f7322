/**
 * Runs a query on PostgreSQL: on a connection of its own, in a read-only transaction, as a role that may read the contract
 * and nothing else. Queries of a restricted token run as a role that may read no table, over temporary views of what the
 * token covers. The views end with the transaction. See docs/decisions.md D29.
 */
import pg from 'pg';
import { connect, type Connection, destroyConnection } from '../../engines/postgres/connection.ts';
import { isSameServer } from '../../engines/postgres/server-identity.ts';
import { LastseenError } from '../../errors.ts';
import { type Access, accessCondition, EVENT_COLUMNS, EVENTS, VIEWS } from '../contract.ts';
import type { Cell } from '../format.ts';
import type { Query, RowSink, Sandbox } from '../sandbox.ts';
import { queryInvalid, requireParameters, requireReadStatement } from '../statement.ts';
import { requirePostgresNames } from './names.ts';

const QUERY_CONNECTION = 'lastseen-query';

/** Rows of one fetch: few at first, then as many as have about `FETCH_CHARACTERS`. */
const FIRST_FETCH = 50;
const MAX_FETCH = 5_000;
const FETCH_CHARACTERS = 1_000_000;

const { builtins } = pg.types;
const NUMBERS: readonly number[] = [
  builtins.INT2,
  builtins.INT4,
  builtins.INT8,
  builtins.OID,
  builtins.FLOAT4,
  builtins.FLOAT8,
  builtins.NUMERIC,
];

/** Every value stays text: the types of the columns say what it means. */
const TEXT_TYPES = { getTypeParser: () => (text: string) => text } as unknown as pg.CustomTypesConfig;

interface Session {
  readonly client: Connection;
  readonly processId: number;
  readonly schema: string;
  /** Names of functions that take one argument: PostgreSQL also calls them as `(value).name`. */
  readonly callable: ReadonlySet<string>;
  /** The definition of each view of the contract, over names of the schema. */
  readonly views: ReadonlyMap<string, string>;
}

export function postgresSandbox(url: string): Sandbox {
  let session: Session | undefined;
  let isRunning = false;

  async function run(query: Query, sink: RowSink): Promise<void> {
    const { text, tokens } = requireReadStatement(query.sql);
    requireParameters(tokens, query.params.length);
    session ??= await openSession(url, () => (session = undefined));
    const { client } = session;
    requirePostgresNames(tokens, session.callable);
    isRunning = true;
    try {
      await client.query('begin');
      await enterSandbox(session, query);
      await readRows(client, { text, params: query.params }, sink);
    } finally {
      isRunning = false;
      // A session-level lock would outlive the transaction.
      await client.query('rollback; reset role; select pg_advisory_unlock_all()').catch(() => {
        session = undefined;
        client.end().catch(() => undefined);
      });
    }
  }

  return {
    async run(query, sink) {
      try {
        await run(query, sink);
      } catch (error) {
        throw toUserError(error);
      }
    },
    async cancel() {
      if (session === undefined || !isRunning) {
        return;
      }
      const canceller = await connect(url, { name: QUERY_CONNECTION, access: 'primary' });
      try {
        // On another server the number is that of somebody else.
        if (isSameServer(canceller.identity, session.client.identity)) {
          await canceller.query('select pg_cancel_backend($1)', [session.processId]);
        }
      } finally {
        destroyConnection(canceller);
      }
    },
  };
}

async function openSession(url: string, onLost: () => void): Promise<Session> {
  const client = await connect(url, {
    name: QUERY_CONNECTION,
    access: 'primary',
    types: TEXT_TYPES,
    queryTimeoutMs: 0,
    onLost,
  });
  try {
    // The server checks whether this process is alive, and limits temporary files: where it and our rights allow that.
    for (const setting of [`client_connection_check_interval = '1s'`, `temp_file_limit = '1GB'`]) {
      await client.query(`set ${setting}`).catch(() => undefined);
    }
    const { rows } = await client.query<{ id: string; schema: string }>(
      `select pg_backend_pid() as id, relnamespace::regnamespace::text as schema
       from pg_class where oid = to_regclass('${EVENTS}')`,
    );
    const [found] = rows;
    if (found === undefined) {
      throw new LastseenError(
        'ERR_STORE_UNAVAILABLE',
        'the database has no table events: run "lastseen migrate"',
      );
    }
    const definitions = await client.query<{ name: string; body: string }>(
      `select c.relname as name, pg_get_viewdef(c.oid) as body
       from pg_class c where c.relkind = 'v' and c.relname = any($1) and c.relnamespace = to_regnamespace($2)`,
      [[...VIEWS], found.schema],
    );
    const functions = await client.query<{ name: string }>(
      `select distinct proname as name from pg_proc
       where pronargs >= 1 and pronargs - pronargdefaults <= 1 or provariadic <> 0`,
    );
    return {
      client,
      callable: new Set(functions.rows.map(({ name }) => name)),
      processId: Number(found.id),
      schema: found.schema,
      views: new Map(definitions.rows.map(({ name, body }) => [name, body])),
    };
  } catch (error) {
    client.end().catch(() => undefined);
    throw error;
  }
}

/** Until the end of the transaction, the connection can then only read, and only what the access covers. */
async function enterSandbox(session: Session, { access, timeoutMs }: Query): Promise<void> {
  const { client, schema } = session;
  const isRestricted = access !== 'everything';
  await client.query(
    `set local search_path = ${schema};
     set local statement_timeout = ${timeoutMs};
     set local idle_in_transaction_session_timeout = ${timeoutMs};
     set local lock_timeout = 2000;
     set local standard_conforming_strings = on;
     set local datestyle = 'ISO, YMD';
     set local intervalstyle = 'iso_8601';
     set local timezone = 'UTC';
     set local bytea_output = 'hex';
     set local cursor_tuple_fraction = 1`,
  );
  await (isRestricted ? createRestrictedViews(session, access) : createContractView(session));
  await client.query(
    `set transaction read only; set local role ${isRestricted ? 'lastseen_restricted' : 'lastseen_query'}`,
  );
}

/** The table has a column that is not part of the contract: a temporary view leaves it out. */
async function createContractView({ client, schema }: Session): Promise<void> {
  await client.query(
    `create temp view ${EVENTS} as select ${EVENT_COLUMNS} from ${schema}.${EVENTS};
     grant select on pg_temp.${EVENTS} to lastseen_query`,
  );
}

/** Temporary views shadow the names of the contract. The barrier keeps conditions of the query off hidden rows. */
async function createRestrictedViews(
  { client, schema, views }: Session,
  access: Exclude<Access, string>,
): Promise<void> {
  const condition = accessCondition(access);
  await client.query(
    [
      `create temp view ${EVENTS} with (security_barrier) as
         select ${EVENT_COLUMNS} from ${schema}.${EVENTS} where ${condition}`,
      // PostgreSQL resolves temporary names first, so a definition that reads \`events\` now reads the view.
      ...[...views].map(([name, body]) => `create temp view ${name} as ${body.replace(/;\s*$/, '')}`),
      `grant select on ${[EVENTS, ...views.keys()].map((name) => `pg_temp.${name}`).join(', ')} to lastseen_restricted`,
    ].join(';\n'),
  );
}

async function readRows(
  client: pg.Client,
  { text, params }: { readonly text: string; readonly params: Query['params'] },
  sink: RowSink,
): Promise<void> {
  // The extended protocol accepts one statement, and a cursor only one that reads.
  const values = params.map((value) => (value === null ? null : String(value)));
  await client.query({
    text: `declare query no scroll cursor for ${text}`,
    values,
    queryMode: 'extended',
  } as pg.QueryConfig);
  let fields: readonly pg.FieldDef[] | undefined;
  for (let count = FIRST_FETCH; ;) {
    const result = await client.query<(string | null)[]>({
      text: `fetch ${count} from query`,
      rowMode: 'array',
    });
    if (fields === undefined) {
      fields = result.fields;
      sink.columns(fields.map((field) => field.name));
    }
    let characters = 0;
    for (const row of result.rows) {
      for (const cell of row) {
        characters += cell?.length ?? 0;
      }
      const types = fields;
      if (!sink.row(row.map((cell, index) => cellOf(cell, types[index]?.dataTypeID)))) {
        return;
      }
    }
    if (result.rows.length < count) {
      return;
    }
    const average = Math.max(1, characters / count);
    count = Math.max(1, Math.min(MAX_FETCH, 4 * count, Math.floor(FETCH_CHARACTERS / average)));
  }
}

function cellOf(text: string | null, type: number | undefined): Cell {
  if (text === null) {
    return null;
  }
  if (type === builtins.BOOL) {
    return text === 't';
  }
  return type !== undefined && NUMBERS.includes(type) ? { numeral: text } : text;
}

function toUserError(error: unknown): unknown {
  if (error instanceof LastseenError) {
    return error;
  }
  const { code = '', message = 'the connection was lost' } = error as { code?: string; message?: string };
  if (!(error instanceof pg.DatabaseError) || /^(08|57P|53300)/.test(code)) {
    return new LastseenError('ERR_STORE_UNAVAILABLE', 'the store cannot be reached: retry later', {
      cause: error,
    });
  }
  if (/role .*"lastseen_(query|restricted)"/.test(message)) {
    return new LastseenError(
      'ERR_QUERY_UNAVAILABLE',
      'queries are not set up here: the roles lastseen_query and lastseen_restricted must exist, and the user of DATABASE_URL must be a member of both (see "lastseen analyst --help")',
    );
  }
  if (code === '57014') {
    return new LastseenError('ERR_QUERY_LIMIT', 'the query ran longer than its limit');
  }
  if (/^(53|54000)/.test(code)) {
    return new LastseenError('ERR_QUERY_LIMIT', `the query exceeds a limit of the database (${message})`);
  }
  if (/^(25006|42501|0A000)/.test(code)) {
    return new LastseenError(
      'ERR_QUERY_REFUSED',
      `a query can read the contract, and nothing else (${message})`,
    );
  }
  return queryInvalid(message);
}
