/**
 * A query on the SQLite file. The file is opened read-only and attached once more under a name that nobody can guess;
 * temporary views with the contract's names stand over that. Before the statement runs, its byte code is looked
 * through: it may open the b-trees of `events` under the unguessable name, and call the functions of the list, and
 * nothing else, whatever its text says. See docs/decisions.md D28.
 */
import Database from 'better-sqlite3';
import { LastseenError } from '../../errors.ts';
import type { Random } from '../../runtime.ts';
import { type Access, accessCondition, EVENT_COLUMNS, EVENTS, VIEWS } from '../contract.ts';
import type { Cell } from '../format.ts';
import { SQLITE_FUNCTIONS } from '../functions.ts';
import type { Query, Sandbox } from '../sandbox.ts';
import { queryInvalid, queryRefused, requireParameters, requireReadStatement } from '../statement.ts';

/** An instruction of a program, as EXPLAIN shows it. */
interface Instruction {
  readonly opcode: string;
  readonly p2: number;
  readonly p3: number;
  readonly p4: string | null;
  readonly p5: number;
}

/** Of a connection: main, temp, and the file under its other name. */
const ATTACHED = 2;

const OPEN_B_TREE = /^(OpenRead|ReopenIdx)$/;
const CALL = /^(Function|PureFunc|AggStep1?|AggInverse|AggValue|AggFinal)$/;
const NEVER =
  /^(OpenWrite|V(Begin|Create|Destroy|Update|Rename|Check)|Attach|Detach|JournalMode|Checkpoint|Vacuum|IncrVacuum|Pagecount|MaxPgcnt|ReadCookie|SetCookie|ParseSchema|LoadAnalysis|CreateBtree|Destroy|Clear|Program|Trace|Savepoint|AutoCommit|Sql[Ee]xec)$/;

/** The library itself comes with the first database. */
export function loadSqlite(): void {
  new Database(':memory:').close();
}

export function sqliteSandbox(path: string, random: Pick<Random, 'bytes'>): Sandbox {
  return {
    run(query, onColumns, onRow) {
      const name = `x${Buffer.from(random.bytes(16)).toString('hex')}`;
      const db = new Database(path, { readonly: true, fileMustExist: true });
      try {
        prepareViews(db, path, name, query.access);
        runQuery(db, query, onColumns, onRow);
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

function prepareViews(db: Database.Database, path: string, name: string, access: Access): void {
  // What a query sorts or gathers stays in memory, of which the process has so much and no more.
  db.pragma('temp_store = memory');
  db.pragma('busy_timeout = 1000');
  db.prepare(`attach ? as ${name}`).run(path);
  const views = db
    .prepare<[], { sql: string }>(
      `select sql from ${name}.sqlite_master where type = 'view' and name in (${VIEWS.map((view) => `'${view}'`).join(', ')})`,
    )
    .all();
  // The limit keeps the caller's own conditions from being tried on rows that the filter hides.
  const part = access === 'everything' ? '' : ` where ${accessCondition(access)} limit -1 offset 0`;
  db.exec(`create temp view ${EVENTS} as select ${EVENT_COLUMNS} from ${name}.${EVENTS}${part}`);
  // Names in a temporary view are looked up among the temporary ones first.
  for (const { sql } of views) {
    db.exec(sql.replace(/^create view/i, 'create temp view'));
  }
  db.pragma('query_only = on');
}

function runQuery(
  db: Database.Database,
  query: Query,
  onColumns: (columns: readonly string[]) => void,
  onRow: (cells: readonly Cell[]) => boolean,
): void {
  const { text, tokens } = requireReadStatement(query.sql);
  requireParameters(tokens, query.params.length);
  // Parameters in SQLite's other ways of writing them.
  const other = tokens.find((token) => token.kind === 'symbol' && /^[@:#]$/.test(token.text));
  if (other !== undefined) {
    throw queryInvalid(`a parameter is written $1, $2, …, got ${other.text}`);
  }
  const values = Object.fromEntries(query.params.map((value, at) => [String(at + 1), bindable(value)]));
  const given = query.params.length === 0 ? [] : [values];
  const roots = eventRoots(db);
  const tables = ['json_each', 'json_tree'].map((table) => tableFunctionName(db, table));
  for (const step of db.prepare<unknown[], Instruction>(`explain ${text}`).all(...given)) {
    requireAllowed(step, roots, tables);
  }
  const statement = db.prepare<unknown[], Cell[]>(text).safeIntegers(true);
  if (!statement.reader || !statement.readonly) {
    throw queryRefused('a query only reads');
  }
  onColumns(statement.columns().map((column) => column.name));
  for (const row of statement.raw().iterate(...given)) {
    if (!onRow(row)) {
      return;
    }
  }
}

/** The roots of `events` and its indexes. */
function eventRoots(db: Database.Database): ReadonlySet<number> {
  const rows = db
    .prepare<[], { rootpage: number }>(
      `select rootpage from main.sqlite_master where tbl_name = '${EVENTS}' and rootpage > 0`,
    )
    .all();
  return new Set(rows.map((row) => row.rootpage));
}

/** How this connection's programs name a table-valued function. */
function tableFunctionName(db: Database.Database, name: string): string | null | undefined {
  const steps = db.prepare<[], Instruction>(`explain select * from ${name}('[]')`).all();
  return steps.find((step) => step.opcode === 'VOpen')?.p4;
}

/** @throws ERR_QUERY_REFUSED when the instruction reaches beyond the contract */
function requireAllowed(
  { opcode, p2, p3, p4, p5 }: Instruction,
  roots: ReadonlySet<number>,
  tables: readonly (string | null | undefined)[],
): void {
  // Bit 16 of p5: the root is in a register, known only when the program runs.
  const isOwn = p3 === ATTACHED && roots.has(p2) && (p5 & 16) === 0;
  if (OPEN_B_TREE.test(opcode) && !isOwn) {
    throw outsideContract();
  }
  if (opcode === 'VOpen' && (p4 === null || !tables.includes(p4))) {
    throw outsideContract();
  }
  if (NEVER.test(opcode)) {
    throw queryRefused('a query only reads');
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
  return queryRefused(`a query reaches ${[EVENTS, ...VIEWS].join(', ')}, and nothing else`);
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
    return new LastseenError('ERR_QUERY_LIMIT', `the query needs more memory than it may have (${message})`);
  }
  if (/^SQLITE_(BUSY|IOERR|CANTOPEN|CORRUPT|NOTADB)/.test(code)) {
    return new LastseenError('ERR_STORE_UNAVAILABLE', `the store failed (${message}): try again later`);
  }
  return queryInvalid(message);
}
