/** lastseen query: SQL over HTTP, as a table, JSON, NDJSON or CSV. */
import { text as textOf } from 'node:stream/consumers';
import type { Command } from 'commander';
import { readClientConfig } from '../../config.ts';
import { LastseenError, shown } from '../../errors.ts';
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

/** Of a cell in a table; what is longer is cut. */
const MAX_CELL_CHARACTERS = 60;

export function addQuery(program: Command): void {
  addUrlOption(
    program
      .command('query')
      .description('ask the history with SQL: the tables and views of docs/analysis.md')
      .argument('<sql>', 'a statement that reads; "-": standard input'),
  )
    .option('--format <name>', 'table, json, ndjson or csv', 'table')
    .option('--param <values...>', 'values for $1, $2, …: JSON scalars, or else text', [])
    .addHelpText(
      'after',
      `
The token is read from LASTSEEN_TOKEN, and needs the scope query. An answer that was cut off is told on standard error.`,
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
      `--format: must be ${Object.keys(ACCEPT).join(', ')}, got ${shown(options.format)}`,
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
  // Who reads us may stop reading: that is an end, not a failure.
  process.stdout.on('error', () => process.exit(0));
  process.stdout.write(options.format === 'table' ? formatTable(text) : text);
  if (options.format === 'json') {
    process.stdout.write('\n');
  }
  if (response.headers.get('lastseen-truncated') === 'true') {
    process.stderr.write('lastseen: the answer was cut off: ask for less, or for a part at a time\n');
  }
}

/** `7`, `true` and `null` as what they are in JSON; everything else is text. */
function parseParameter(text: string): unknown {
  if (!/^(-?\d+(\.\d+)?|true|false|null)$/.test(text)) {
    return text;
  }
  const value = JSON.parse(text.replace(/^(-?)0+(?=\d)/, '$1')) as unknown;
  // What a number could not hold is sent as it was given.
  return typeof value === 'number' && String(value) !== text ? text : value;
}

function toUserError(status: number, text: string): LastseenError {
  let message = text.slice(0, 500);
  try {
    const { code, detail } = JSON.parse(text) as { code?: unknown; detail?: unknown };
    message = `${String(code)}: ${String(detail)}`;
  } catch {
    // Somebody else has answered, such as a proxy.
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

/** Control characters are shown as JSON shows them: what a terminal obeys is not for events to say. */
function formatCell(value: unknown): string {
  if (value === null) {
    return '';
  }
  const quoted = JSON.stringify(value);
  const text = typeof value === 'string' ? quoted.slice(1, -1).replaceAll('\\"', '"') : quoted;
  const safe = text.replace(/[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '�');
  return safe.length > MAX_CELL_CHARACTERS ? `${safe.slice(0, MAX_CELL_CHARACTERS - 1)}…` : safe;
}
