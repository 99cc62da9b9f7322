/** Asking the log with SQL. */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { useApi } from './context.ts';
import { createEditor, type Editor } from './editor.ts';
import { EXAMPLES } from './example-queries.ts';
import { count, duration } from './format.ts';
import { Empty, ErrorNotice } from './notice.tsx';
import { type QueryResult, resultOf } from './query-result.ts';
import { Result } from './result.tsx';
import { useTask } from './task.ts';
import type { ViewProps } from './view.ts';

interface Asked {
  readonly sql: string;
  readonly note: string;
  readonly at: number;
}

/** Queries remembered, in the memory of the page. */
const MAX_HISTORY = 50;

export function QueryView({ isShown }: ViewProps): VNode {
  const api = useApi();
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<Editor | undefined>(undefined);
  const run = useRef<() => void>(() => undefined);
  const [params, setParams] = useState('');
  const [result, setResult] = useState<(QueryResult & { readonly tookMs: number }) | undefined>();
  const [asked, setAsked] = useState<readonly Asked[]>([]);
  const task = useTask();

  useEffect(() => {
    if (host.current === null) {
      return;
    }
    const made = createEditor(host.current, EXAMPLES[0]?.[1] ?? '', () => {
      run.current();
    });
    editor.current = made;
    return () => {
      made.destroy();
    };
  }, []);

  run.current = () => {
    task.run(async (signal) => {
      const sql = editor.current?.text() ?? '';
      const body = { sql, params: paramsOf(params) };
      const startedAt = performance.now();
      const remember = (note: string): void => {
        setAsked((before) => [
          { sql, note, at: Date.now() },
          ...before.filter((one) => one.sql !== sql).slice(0, MAX_HISTORY - 1),
        ]);
      };
      try {
        const found = resultOf(
          await api.json('POST', '/query', { body, accept: 'application/json', signal }),
        );
        setResult({ ...found, tookMs: performance.now() - startedAt });
        remember(`${count(found.rows.length)} rows`);
      } catch (error) {
        remember('refused');
        throw error;
      }
    });
  };

  return (
    <div class="columns">
      <div class="stack">
        <h1>Query</h1>
        <div class="editor">
          <div ref={host} class="editor-host" />
        </div>
        <div class="row">
          <button
            type="button"
            class="primary"
            disabled={task.isRunning}
            onClick={() => {
              run.current();
            }}
          >
            {task.isRunning ? 'Running …' : 'Run'}
          </button>
          {task.isRunning ? (
            <button type="button" onClick={task.cancel}>
              Cancel
            </button>
          ) : (
            <span class="muted wide">
              <kbd>Ctrl</kbd> <kbd>Enter</kbd>
            </span>
          )}
          <label class="inline grow">
            Parameters
            <input
              spellcheck={false}
              placeholder='["client1"]'
              value={params}
              onInput={(event) => {
                setParams(event.currentTarget.value);
              }}
            />
          </label>
        </div>
        <ErrorNotice error={task.error} />
        {result === undefined ? (
          <Empty title="No result yet">
            One statement that only reads, over events and the views beside it.
          </Empty>
        ) : (
          <>
            <p class="muted" role="status" aria-label="Result">
              {count(result.rows.length)} {result.rows.length === 1 ? 'row' : 'rows'} in{' '}
              {duration(result.tookMs)}
              {result.isTruncated ? '; there are more: the server has cut the result' : ''}
            </p>
            <Result result={result} isShown={isShown} />
          </>
        )}
      </div>
      <aside class="stack">
        <Recall
          title="Examples"
          items={EXAMPLES.map(([title, sql]) => ({ title, sql }))}
          onPick={(sql) => editor.current?.setText(sql)}
        />
        {asked.length === 0 ? null : (
          <Recall
            title="History"
            items={asked.map(({ sql, note }) => ({ title: sql.replaceAll(/\s+/g, ' '), sql, note }))}
            onPick={(sql) => editor.current?.setText(sql)}
          />
        )}
      </aside>
    </div>
  );
}

function Recall(props: {
  readonly title: string;
  readonly items: readonly { readonly title: string; readonly sql: string; readonly note?: string }[];
  readonly onPick: (sql: string) => void;
}): VNode {
  return (
    <section class="card">
      <h2>{props.title}</h2>
      <ul class="recall">
        {props.items.map(({ title, sql, note }) => (
          <li key={sql}>
            <button
              type="button"
              class="plain"
              onClick={() => {
                props.onPick(sql);
              }}
            >
              <span class={note === undefined ? '' : 'mono'}>{title}</span>
              {note === undefined ? null : <small>{note}</small>}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** @throws Error in the reader's words */
function paramsOf(text: string): readonly unknown[] {
  if (text.trim() === '') {
    return [];
  }
  try {
    const value = JSON.parse(text) as unknown;
    if (Array.isArray(value)) {
      return value;
    }
  } catch {
    // Said below.
  }
  throw new Error('the parameters must be a JSON array, such as ["client1", 10]');
}
