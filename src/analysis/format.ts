/** The result of a query as text, row by row: JSON, NDJSON or CSV. */

/** A number as the database wrote it: it may not fit into a JavaScript number. */
export interface Numeral {
  readonly numeral: string;
}

export type Cell = null | boolean | string | number | bigint | Uint8Array | Numeral;

export const FORMATS = ['json', 'ndjson', 'csv'] as const;

export type Format = (typeof FORMATS)[number];

export interface Encoder {
  readonly head: string;
  row(cells: readonly Cell[]): string;
  tail(result: { readonly isTruncated: boolean }): string;
}

/** JSON: one object. NDJSON: one object a row. CSV: RFC 4180, with a header line. */
export function createEncoder(format: Format, columns: readonly string[]): Encoder {
  if (format === 'json') {
    return jsonEncoder(columns);
  }
  return format === 'ndjson' ? ndjsonEncoder(columns) : csvEncoder(columns);
}

function jsonEncoder(columns: readonly string[]): Encoder {
  let between = '';
  return {
    head: `{"columns":${JSON.stringify(columns)},"rows":[`,
    row(cells) {
      const text = `${between}[${cells.map(toJson).join(',')}]`;
      between = ',';
      return text;
    },
    tail: ({ isTruncated }) => `],"truncated":${isTruncated}}`,
  };
}

function ndjsonEncoder(columns: readonly string[]): Encoder {
  const keys = uniqueKeys(columns).map((name) => JSON.stringify(name));
  return {
    head: '',
    row: (cells) => `{${cells.map((cell, index) => `${keys[index] ?? ''}:${toJson(cell)}`).join(',')}}\n`,
    tail: () => '',
  };
}

function csvEncoder(columns: readonly string[]): Encoder {
  return {
    head: `${columns.map(textToCsv).join(',')}\r\n`,
    row: (cells) => `${cells.map(toCsv).join(',')}\r\n`,
    tail: () => '',
  };
}

/** Column names as the keys of an object: a repeated name gets a number. */
function uniqueKeys(columns: readonly string[]): string[] {
  const used = new Set<string>();
  return columns.map((name) => {
    let key = name;
    for (let number = 2; used.has(key); number += 1) {
      key = `${name}_${number}`;
    }
    used.add(key);
    return key;
  });
}

/** Integers beyond 2^53 become text: readers in JavaScript would round them. */
function toJson(cell: Cell): string {
  if (cell === null) {
    return 'null';
  }
  switch (typeof cell) {
    case 'string':
      return JSON.stringify(cell);
    case 'boolean':
      return String(cell);
    case 'number':
      return Number.isFinite(cell) ? JSON.stringify(cell) : `"${cell}"`;
    case 'bigint':
      return numeralToJson(String(cell));
    default:
      return cell instanceof Uint8Array ? `"${hex(cell)}"` : numeralToJson(cell.numeral);
  }
}

function numeralToJson(text: string): string {
  const isNumber = /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(text);
  const isLarge = /^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text));
  return isNumber && !isLarge ? text : JSON.stringify(text);
}

/** Null becomes an empty field, an empty text becomes `""`. */
function toCsv(cell: Cell): string {
  if (cell === null) {
    return '';
  }
  if (typeof cell === 'string') {
    return cell === '' ? '""' : textToCsv(cell);
  }
  if (typeof cell !== 'object') {
    return String(cell);
  }
  return cell instanceof Uint8Array ? hex(cell) : cell.numeral;
}

/** Puts an apostrophe before a text that a spreadsheet would run as a formula, unless it is a number. */
function textToCsv(text: string): string {
  const isFormula = /^[=+\-@\t\r]/.test(text) && !/^[-+]?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(text);
  const safe = isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function hex(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes).toString('hex')}`;
}
