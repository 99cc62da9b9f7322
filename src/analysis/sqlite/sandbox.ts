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
import type { Question, Sandbox } from '../sandbox.ts';
import { invalid, refused, requireParameters, requireReading } from '../statement.ts';

/** An instruction of a program, as EXPLAIN shows it. */
interface Step {
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
    run(question, onColumns, onRow) {
      const name = `x${Buffer.from(random.bytes(16)).toString('hex')}`;
      const db = new Database(path, { readonly: true, fileMustExist: true });
      try {
        prepareViews(db, path, name, question.access);
        query(db, question, onColumns, onRow);
      } catch (error) {
        throw toldOf(error, name);
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

function query(
  db: Database.Database,
  question: Question,
  onColumns: (columns: readonly string[]) => void,
  onRow: (cells: readonly Cell[]) => boolean,
): void {
  const { text, tokens } = requireReading(question.sql);
  requireParameters(tokens, question.params.length);
  // Parameters in SQLite's other ways of writing them.
  const other = tokens.find((token) => token.kind === 'symbol' && /^[@:#]$/.test(token.text));
  if (other !== undefined) {
    throw invalid(`a parameter is written $1, $2, …, got ${other.text}`);
  }
  const values = Object.fromEntries(question.params.map((value, at) => [String(at + 1), bound(value)]));
  const given = question.params.length === 0 ? [] : [values];
  const roots = rootsOf(db);
  const tables = ['json_each', 'json_tree'].map((table) => virtualTable(db, table));
  for (const step of db.prepare<unknown[], Step>(`explain ${text}`).all(...given)) {
    check(step, roots, tables);
  }
  const statement = db.prepare<unknown[], Cell[]>(text).safeIntegers(true);
  if (!statement.reader || !statement.readonly) {
    throw refused('a query only reads');
  }
  onColumns(statement.columns().map((column) => column.name));
  for (const row of statement.raw().iterate(...given)) {
    if (!onRow(row)) {
      return;
    }
  }
}

/** The roots of `events` and its indexes. */
function rootsOf(db: Database.Database): ReadonlySet<number> {
  const rows = db
    .prepare<[], { rootpage: number }>(
      `select rootpage from main.sqlite_master where tbl_name = '${EVENTS}' and rootpage > 0`,
    )
    .all();
  return new Set(rows.map((row) => row.rootpage));
}

/** How this connection's programs name a table-valued function. */
function virtualTable(db: Database.Database, name: string): string | null | undefined {
  const steps = db.prepare<[], Step>(`explain select * from ${name}('[]')`).all();
  return steps.find((step) => step.opcode === 'VOpen')?.p4;
}

/** @throws ERR_QUERY_REFUSED when the instruction reaches beyond the contract */
function check(
  { opcode, p2, p3, p4, p5 }: Step,
  roots: ReadonlySet<number>,
  tables: readonly (string | null | undefined)[],
): void {
  // Bit 16 of p5: the root is in a register, known only when the program runs.
  const isOwn = p3 === ATTACHED && roots.has(p2) && (p5 & 16) === 0;
  if (OPEN_B_TREE.test(opcode) && !isOwn) {
    throw beyond();
  }
  if (opcode === 'VOpen' && (p4 === null || !tables.includes(p4))) {
    throw beyond();
  }
  if (NEVER.test(opcode)) {
    throw refused('a query only reads');
  }
  if (!CALL.test(opcode)) {
    return;
  }
  const called = (p4 ?? '').replace(/\(-?\d+\)$/, '');
  if (!SQLITE_FUNCTIONS.has(called)) {
    throw refused(`the function ${called} is not available to queries`);
  }
}

function beyond(): LastseenError {
  return refused(`a query reaches ${[EVENTS, ...VIEWS].join(', ')}, and nothing else`);
}

function bound(value: Question['params'][number]): string | number | bigint | null {
  if (typeof value === 'boolean') {
    return value ? 1n : 0n;
  }
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
}

function toldOf(error: unknown, name: string): unknown {
  if (!(error instanceof Error) || error instanceof LastseenError) {
    return error;
  }
  const message = error.message.replaceAll(name, 'main');
  if (!('code' in error)) {
    return error instanceof RangeError ? invalid(message) : error;
  }
  const code = String(error.code);
  if (/^SQLITE_(NOMEM|TOOBIG|FULL)/.test(code)) {
    return new LastseenError('ERR_QUERY_LIMIT', `the query needs more memory than it may have (${message})`);
  }
  if (/^SQLITE_(BUSY|IOERR|CANTOPEN|CORRUPT|NOTADB)/.test(code)) {
    return new LastseenError('ERR_STORE_UNAVAILABLE', `the store failed (${message}): try again later`);
  }
  return invalid(message);
}
