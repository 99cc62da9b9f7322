/**
 * Runs a query on the SQLite file. The file is opened read-only and attached once more under a random name; temporary
 * views with the names of the contract read from there. Before the statement runs, its byte code is checked: it may open
 * the b-trees of `events` under the random name and call the listed functions. Anything else is refused, whatever the text
 * of the statement says. See docs/decisions.md D28.
 */
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';
import type { Random } from '../../runtime.ts';
import { type Access, accessCondition, EVENT_COLUMNS, EVENTS, VIEWS } from '../contract.ts';
import type { Cell } from '../format.ts';
import { SQLITE_FUNCTIONS } from '../functions.ts';
import type { Query, RowSink, Sandbox } from '../sandbox.ts';
import { queryInvalid, queryRefused, requireParameters, requireReadStatement } from '../statement.ts';

/** An instruction of a program, as EXPLAIN shows it. */
interface Instruction {
  readonly opcode: string;
  readonly p2: number;
  readonly p3: number;
  readonly p4: string | null;
  readonly p5: number;
}

/** Index of the attached file among the databases of a connection: 0 is main, 1 is temp. */
const ATTACHED = 2;

const OPEN_B_TREE = /^(OpenRead|ReopenIdx)$/;
const CALL = /^(Function|PureFunc|AggStep1?|AggInverse|AggValue|AggFinal)$/;
const NEVER =
  /^(OpenWrite|V(Begin|Create|Destroy|Update|Rename|Check)|Attach|Detach|JournalMode|Checkpoint|Vacuum|IncrVacuum|Pagecount|MaxPgcnt|ReadCookie|SetCookie|ParseSchema|LoadAnalysis|CreateBtree|Destroy|Clear|Program|Trace|Savepoint|AutoCommit|Sql[Ee]xec)$/;

/** Loads SQLite itself: the library is loaded with the first database. */
export function loadSqlite(): void {
  new Database(':memory:').close();
}

export function sqliteSandbox(path: string, random: Pick<Random, 'bytes'>): Sandbox {
  return {
    run(query, sink) {
      const name = `x${Buffer.from(random.bytes(16)).toString('hex')}`;
      const db = new Database(path, { readonly: true, fileMustExist: true });
      try {
        createViews(db, { path, name, access: query.access });
        runQuery(db, query, sink);
      } catch (error) {
        throw toUserError(error, name);
      } finally {
        db.close();
      }
      return Promise.resolve();
    },
    cancel: () => Promise.resolve(),
  };
}

function createViews(
  db: Database.Database,
  { path, name, access }: { readonly path: string; readonly name: string; readonly access: Access },
): void {
  // Sorting uses memory and no files: the memory of the process is limited.
  db.pragma('temp_store = memory');
  db.pragma('busy_timeout = 1000');
  db.prepare(`attach ? as ${name}`).run(path);
  const views = db
    .prepare<[], { sql: string }>(
      `select sql from ${name}.sqlite_master where type = 'view' and name in (${VIEWS.map((view) => `'${view}'`).join(', ')})`,
    )
    .all();
  // The limit keeps SQLite from evaluating conditions of the query on rows that the filter hides.
  const filter = access === 'everything' ? '' : ` where ${accessCondition(access)} limit -1 offset 0`;
  db.exec(`create temp view ${EVENTS} as select ${EVENT_COLUMNS} from ${name}.${EVENTS}${filter}`);
  // SQLite resolves names in a temporary view among the temporary views first.
  for (const { sql } of views) {
    db.exec(sql.replace(/^create view/i, 'create temp view'));
  }
  db.pragma('query_only = on');
}

function runQuery(db: Database.Database, query: Query, sink: RowSink): void {
  const { text, tokens } = requireReadStatement(query.sql);
  requireParameters(tokens, query.params.length);
  // SQLite has other notations for parameters.
  const other = tokens.find((token) => token.kind === 'symbol' && /^[@:#]$/.test(token.text));
  if (other !== undefined) {
    throw queryInvalid(`a parameter must be $1, $2, …, got ${other.text}`);
  }
  const values = Object.fromEntries(query.params.map((value, index) => [String(index + 1), bindable(value)]));
  const given = query.params.length === 0 ? [] : [values];
  const roots = eventRoots(db);
  const tables = ['json_each', 'json_tree'].map((table) => tableFunctionName(db, table));
  for (const instruction of db.prepare<unknown[], Instruction>(`explain ${text}`).all(...given)) {
    requireAllowed(instruction, roots, tables);
  }
  const statement = db.prepare<unknown[], Cell[]>(text).safeIntegers(true);
  if (!statement.reader || !statement.readonly) {
    throw queryRefused('a query must only read');
  }
  sink.columns(statement.columns().map((column) => column.name));
  for (const row of statement.raw().iterate(...given)) {
    if (!sink.row(row)) {
      return;
    }
  }
}

/** Root pages of `events` and its indexes. */
function eventRoots(db: Database.Database): ReadonlySet<number> {
  const rows = db
    .prepare<[], { rootpage: number }>(
      `select rootpage from main.sqlite_master where tbl_name = '${EVENTS}' and rootpage > 0`,
    )
    .all();
  return new Set(rows.map((row) => row.rootpage));
}

/** The name of a table-valued function in the byte code of this connection. */
function tableFunctionName(db: Database.Database, name: string): string | null | undefined {
  const instructions = db.prepare<[], Instruction>(`explain select * from ${name}('[]')`).all();
  return instructions.find(({ opcode }) => opcode === 'VOpen')?.p4;
}

/** @throws ERR_QUERY_REFUSED when the instruction reaches beyond the contract */
function requireAllowed(
  { opcode, p2, p3, p4, p5 }: Instruction,
  roots: ReadonlySet<number>,
  tables: readonly (string | null | undefined)[],
): void {
  // Bit 16 of p5: the root page is in a register, and unknown before the program runs.
  const isOwn = p3 === ATTACHED && roots.has(p2) && (p5 & 16) === 0;
  if (OPEN_B_TREE.test(opcode) && !isOwn) {
    throw outsideContract();
  }
  if (opcode === 'VOpen' && (p4 === null || !tables.includes(p4))) {
    throw outsideContract();
  }
  if (NEVER.test(opcode)) {
    throw queryRefused('a query must only read');
  }
  if (!CALL.test(opcode)) {
    return;
  }
  const called = (p4 ?? '').replace(/\(-?\d+\)$/, '');
  if (!SQLITE_FUNCTIONS.has(called)) {
    throw queryRefused(`the function ${called} is not available to queries`);
  }
}

function outsideContract(): LastseenError {
  return queryRefused(`a query can read ${[EVENTS, ...VIEWS].join(', ')}, and nothing else`);
}

function bindable(value: Query['params'][number]): string | number | bigint | null {
  if (typeof value === 'boolean') {
    return value ? 1n : 0n;
  }
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
}

function toUserError(error: unknown, name: string): unknown {
  if (!(error instanceof Error) || error instanceof LastseenError) {
    return error;
  }
  const message = error.message.replaceAll(name, 'main');
  if (!('code' in error)) {
    return error instanceof RangeError ? queryInvalid(message) : error;
  }
  const code = String(error.code);
  if (/^SQLITE_(NOMEM|TOOBIG|FULL)/.test(code)) {
    return new LastseenError('ERR_QUERY_LIMIT', `the query needs more memory than its limit (${message})`);
  }
  if (/^SQLITE_(BUSY|IOERR|CANTOPEN|CORRUPT|NOTADB)/.test(code)) {
    return new LastseenError('ERR_STORE_UNAVAILABLE', `the store failed (${message}): retry later`);
  }
  return queryInvalid(message);
}
