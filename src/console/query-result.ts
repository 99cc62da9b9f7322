/** An answer of POST /query, and what can be made of it: CSV, and lines to plot. Pure. */
import { ApiError, objectOf } from './answer.ts';
import { cell } from './format.ts';

export interface QueryResult {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  /** True when there were more rows than the server gives. */
  readonly isTruncated: boolean;
}

/** @throws ApiError when it is no such answer */
export function resultOf(value: unknown): QueryResult {
  const { columns, rows, truncated } = objectOf(value);
  if (!Array.isArray(columns) || !Array.isArray(rows) || !rows.every((row) => Array.isArray(row))) {
    throw new ApiError(0, 'the answer is not a table: is the server of the same version?');
  }
  return { columns: columns.map(String), rows: rows as unknown[][], isTruncated: truncated === true };
}

/** RFC 4180. What a spreadsheet would take for a formula gets an apostrophe. */
export function csvOf({ columns, rows }: QueryResult): string {
  const field = (value: unknown): string => {
    const text = cell(value);
    const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [columns, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('');
}

/** A line. */
export interface Series {
  readonly label: string;
  readonly values: readonly (number | null)[];
}

export interface PlotData {
  readonly x: readonly number[];
  readonly isTime: boolean;
  /** When the first column is words. */
  readonly names: readonly string[] | undefined;
  readonly series: readonly Series[];
}

/** Rows drawn at most. */
const MAX_POINTS = 5_000;

/** Milliseconds from 2001 to 2286: numbers in between are taken for times. */
const TIMES: readonly [number, number] = [1e12, 1e13];

/**
 * The first column against every other one that holds numbers; `undefined` when there is none. Numbers come as text too
 * where a database counts beyond what JavaScript can.
 */
export function plotDataOf({ columns, rows }: QueryResult, maxSeries: number): PlotData | undefined {
  const shown = rows.slice(0, MAX_POINTS);
  const numeric = columns
    .map((label, at) => ({ label, at }))
    .filter(({ at }) => shown.length > 0 && shown.every((row) => row[at] === null || isNumber(row[at])));
  const first = numeric.find(({ at }) => at === 0);
  const values = numeric.filter(({ at }) => at !== 0 || columns.length === 1).slice(0, maxSeries);
  if (values.length === 0) {
    return undefined;
  }
  const times = first === undefined ? shown.map((row) => timeOf(row[0])) : [];
  const isDated = times.length > 0 && times.every((time) => !Number.isNaN(time));
  const xs =
    columns.length === 1
      ? shown.map((_, at) => at)
      : first !== undefined
        ? shown.map((row) => Number(row[0]))
        : isDated
          ? times
          : shown.map((_, at) => at);
  const isTime =
    isDated || (first !== undefined && columns.length > 1 && xs.every((x) => x > TIMES[0] && x < TIMES[1]));
  const order = xs.map((_, at) => at).sort((a, b) => (xs[a] ?? 0) - (xs[b] ?? 0));
  const isNamed = first === undefined && !isDated;
  return {
    x: order.map((at) => (xs[at] ?? 0) / (isTime ? 1_000 : 1)),
    isTime,
    names: isNamed ? shown.map((row) => cell(row[0])) : undefined,
    series: values.map(({ label, at: column }) => ({
      label,
      values: order.map((at) => {
        const value = shown[at]?.[column];
        return value === null || value === undefined ? null : Number(value);
      }),
    })),
  };
}

function isNumber(value: unknown): boolean {
  return typeof value === 'number' || (typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value));
}

/** Milliseconds of an ISO date or time; `NaN` for anything else. */
function timeOf(value: unknown): number {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\d/.test(value) ? Date.parse(value) : NaN;
}
