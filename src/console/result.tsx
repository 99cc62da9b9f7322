/** A result as a table or a plot, and as a file. */
import type { VNode } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { cell, count } from './format.ts';
import { Empty } from './notice.tsx';
import { MAX_SERIES, Plot } from './plot.tsx';
import { csvOf, plotDataOf, type QueryResult } from './query-result.ts';

/** Rows drawn at most; the file has them all. */
const MAX_ROWS = 500;

/** How long a file is kept for the browser to take it. */
const KEEP_FILE_MS = 60_000;

export function Result({
  result,
  isShown,
}: {
  readonly result: QueryResult;
  readonly isShown: boolean;
}): VNode {
  const [isPlot, setPlot] = useState(false);
  return (
    <div class="stack">
      <div class="row spread">
        <div class="switch" role="group" aria-label="Show as">
          {[false, true].map((plot) => (
            <button
              key={String(plot)}
              type="button"
              aria-pressed={plot === isPlot}
              onClick={() => {
                setPlot(plot);
              }}
            >
              {plot ? 'Plot' : 'Table'}
            </button>
          ))}
        </div>
        <button
          type="button"
          onClick={() => {
            download(csvOf(result));
          }}
        >
          Download CSV
        </button>
      </div>
      {isPlot ? isShown ? <PlotOf result={result} /> : null : <TableOf result={result} />}
    </div>
  );
}

function TableOf({ result: { columns, rows } }: { readonly result: QueryResult }): VNode {
  if (rows.length === 0) {
    return <Empty title="No rows">The statement found nothing.</Empty>;
  }
  const isNumeric = columns.map((_, at) =>
    rows.every((row) => row[at] === null || typeof row[at] === 'number'),
  );
  return (
    <>
      <div class="scroll tall" tabIndex={0} role="region" aria-label="Rows">
        <table class="rows">
          <thead>
            <tr>
              {columns.map((column, at) => (
                <th key={`${column} ${at}`} scope="col" class={isNumeric[at] === true ? 'number' : ''}>
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, MAX_ROWS).map((row, at) => (
              <tr key={at}>
                {row.map((value, column) => (
                  <td key={column} class={isNumeric[column] === true ? 'number' : ''}>
                    {value === null ? <span class="muted">null</span> : cell(value).slice(0, 300)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > MAX_ROWS ? (
        <p class="muted">
          {MAX_ROWS} of {count(rows.length)} rows are shown; the CSV has them all.
        </p>
      ) : null}
    </>
  );
}

function PlotOf({ result }: { readonly result: QueryResult }): VNode {
  const data = useMemo(() => plotDataOf(result, MAX_SERIES), [result]);
  if (data === undefined) {
    return (
      <Empty title="Nothing to plot">
        A plot needs a column of numbers; the first column is what it is drawn against.
      </Empty>
    );
  }
  const names = data.series.map(({ label }) => label).join(', ');
  return (
    <div class="card">
      <Plot
        label={`${names} against ${result.columns[0] ?? 'the row'}, ${count(data.x.length)} points`}
        x={data.x}
        series={data.series}
        isTime={data.isTime}
        height={320}
        {...(data.names === undefined ? {} : { names: data.names })}
      />
    </div>
  );
}

function download(text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = 'lastseen.csv';
  link.click();
  setTimeout(() => {
    URL.revokeObjectURL(url);
  }, KEEP_FILE_MS);
}
