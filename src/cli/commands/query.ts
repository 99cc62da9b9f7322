/** lastseen query: runs SQL over HTTP and prints the result as a table, JSON, NDJSON or CSV. */
import { text as textOf } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { readClientConfig } from '../../config.ts';
import { LastseenError, quote } from '../../errors.ts';
import { addUrlOption } from '../io/options.ts';

interface QueryOptions {
  readonly url?: string;
  readonly format: string;
  readonly param: readonly string[];
}

const ACCEPT: Readonly<Record<string, string>> = {
  table: 'application/json',
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  csv: 'text/csv',
};

/** The table truncates longer cells. */
const MAX_CELL_CHARACTERS = 60;

export function addQuery(program: Command): void {
  addUrlOption(
    program
      .command('query')
      .description('run SQL on the history of events')
      .argument('<sql>', 'statement that only reads; "-": read it from standard input'),
  )
    .option('--format <name>', 'table, json, ndjson or csv', 'table')
    .addOption(
      new Option(
        '--param <values...>',
        'values for $1, $2, …: numbers, true, false and null, or else text',
      ).default([], 'none'),
    )
    .addHelpText(
      'after',
      `
The token is read from LASTSEEN_TOKEN and needs the scope query. If the server truncates the result, the command says so
on standard error.`,
    )
    .action(async (sql: string, options: QueryOptions) => {
      await query(sql === '-' ? await textOf(process.stdin) : sql, options);
    });
}

async function query(sql: string, options: QueryOptions): Promise<void> {
  const client = readClientConfig(process.env, options.url);
  const accept = ACCEPT[options.format];
  if (accept === undefined) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `--format must be one of ${Object.keys(ACCEPT).join(', ')}, got ${quote(options.format)}`,
    );
  }
  const response = await fetch(`${client.url}/query`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Accept: accept,
      ...(client.token === undefined ? {} : { Authorization: `Bearer ${client.token}` }),
    },
    body: JSON.stringify({ sql, params: options.param.map(parseParameter) }),
  });
  const text = await response.text();
  if (!response.ok) {
    throw toUserError(response.status, text);
  }
  // A reader of standard output may stop reading, such as `head`: that is not a failure.
  process.stdout.on('error', () => process.exit(0));
  process.stdout.write(options.format === 'table' ? formatTable(text) : text);
  if (options.format === 'json') {
    process.stdout.write('\n');
  }
  if (response.headers.get('lastseen-truncated') === 'true') {
    process.stderr.write('lastseen: the server truncated the result: select less, or one part at a time\n');
  }
}

/** `7`, `true` and `null` keep their JSON type. Everything else is text. */
function parseParameter(text: string): unknown {
  if (!/^(-?\d+(\.\d+)?|true|false|null)$/.test(text)) {
    return text;
  }
  const value = JSON.parse(text.replace(/^(-?)0+(?=\d)/, '$1')) as unknown;
  // A number that JavaScript cannot represent stays text.
  return typeof value === 'number' && String(value) !== text ? text : value;
}

function toUserError(status: number, text: string): LastseenError {
  let message = text.slice(0, 500);
  try {
    const { code, detail } = JSON.parse(text) as { code?: unknown; detail?: unknown };
    message = `${String(code)}: ${String(detail)}`;
  } catch {
    // Not the server's own answer: a proxy may have sent it.
  }
  const hint = status === 401 ? ' (set LASTSEEN_TOKEN)' : '';
  return new LastseenError('ERR_STORE_UNAVAILABLE', `${message}${hint}`);
}

function formatTable(text: string): string {
  const { columns, rows } = JSON.parse(text) as { columns: string[]; rows: unknown[][] };
  const cells = rows.map((row) => row.map(formatCell));
  const widths = columns.map((name, column) =>
    Math.max(name.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const isNumeric = columns.map((_, column) =>
    rows.every((row) => row[column] === null || typeof row[column] === 'number'),
  );
  const formatLine = (row: readonly string[]): string =>
    row
      .map((cell, column) =>
        isNumeric[column] === true ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  const rule = widths.map((width) => '-'.repeat(width)).join('  ');
  return `${[formatLine(columns), rule, ...cells.map(formatLine)].join('\n')}\n${rows.length} rows\n`;
}

/** Escapes control characters as JSON does, so that an event cannot control the terminal. */
function formatCell(value: unknown): string {
  if (value === null) {
    return '';
  }
  const quoted = JSON.stringify(value);
  const text = typeof value === 'string' ? quoted.slice(1, -1).replaceAll('\\"', '"') : quoted;
  const safe = text.replace(/[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '�');
  return safe.length > MAX_CELL_CHARACTERS ? `${safe.slice(0, MAX_CELL_CHARACTERS - 1)}…` : safe;
}
