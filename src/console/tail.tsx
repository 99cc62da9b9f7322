/** Following a feed: what comes, where the reader stands, and what happened when the connection was lost. */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ClientEvent } from '../client/index.ts';
import { useApi } from './context.ts';
import { CopyButton } from './dialog.tsx';
import { count, duration, time } from './format.ts';
import { Empty, ErrorNotice } from './notice.tsx';
import { PushForm } from './push.tsx';
import { follow, MAX_SHOWN, type TailState } from './tail-feed.ts';
import { VerdictNotice } from './verdict.tsx';

const STATES: Readonly<Record<TailState['connection'], readonly [text: string, kind: string]>> = {
  connecting: ['Connecting', 'busy'],
  'catching-up': ['Catching up', 'busy'],
  live: ['Live', 'good'],
  waiting: ['Reconnecting', 'warn'],
  closed: ['Ended', 'bad'],
};

export function TailView(): VNode {
  const api = useApi();
  const [accessId, setAccessId] = useState('');
  const [start, setStart] = useState('start');
  const [cursor, setCursor] = useState('');
  const [state, setState] = useState<TailState | undefined>();
  const stop = useRef<() => void>(() => undefined);
  useEffect(
    () => () => {
      stop.current();
    },
    [],
  );

  function begin(after: string): void {
    stop.current();
    stop.current = follow(api, accessId, after, setState);
  }

  function end(): void {
    stop.current();
    setState(undefined);
  }

  return (
    <div class="columns">
      <div class="stack">
        <h1>Tail</h1>
        <form
          class="row"
          onSubmit={(event) => {
            event.preventDefault();
            begin(start === 'cursor' ? cursor.trim() : start);
          }}
        >
          <label class="grow">
            access_id
            <input
              required
              maxlength={256}
              spellcheck={false}
              autocapitalize="off"
              autocomplete="off"
              placeholder="client1"
              value={accessId}
              onInput={(event) => {
                setAccessId(event.currentTarget.value);
              }}
            />
          </label>
          <label>
            Begin
            <select
              value={start}
              onChange={(event) => {
                setStart(event.currentTarget.value);
              }}
            >
              <option value="start">at the start</option>
              <option value="now">now</option>
              <option value="cursor">after a cursor</option>
            </select>
          </label>
          {start === 'cursor' ? (
            <label>
              Cursor
              <input
                required
                spellcheck={false}
                value={cursor}
                onInput={(event) => {
                  setCursor(event.currentTarget.value);
                }}
              />
            </label>
          ) : null}
          <button type="submit" class="primary">
            Follow
          </button>
          {state === undefined ? null : (
            <button type="button" onClick={end}>
              Stop
            </button>
          )}
        </form>
        {state === undefined ? (
          <Empty title="No feed is followed">
            Name an access_id: its events come in order, each once, and go on by themselves when the
            connection is lost.
          </Empty>
        ) : (
          <>
            <Place state={state} />
            <ErrorNotice error={state.error} />
            <VerdictNotice error={state.error} onContinue={begin} />
            <Events state={state} />
          </>
        )}
      </div>
      <PushForm accessId={accessId} />
    </div>
  );
}

function Place({ state }: { readonly state: TailState }): VNode {
  const [text, kind] = STATES[state.connection];
  return (
    <div class="card place">
      <dl class="facts">
        <div>
          <dt>State</dt>
          <dd>
            <span class={`pill ${kind}`} role="status" aria-label="State of the feed">
              {text}
            </span>
          </dd>
        </div>
        <div>
          <dt>Version</dt>
          <dd class="figure" data-fact="version">
            {state.version === undefined ? '–' : count(state.version)}
          </dd>
        </div>
        <div>
          <dt>Received</dt>
          <dd class="figure">{count(state.received)}</dd>
        </div>
        <div>
          <dt>By</dt>
          <dd>{state.transport === '' ? '–' : state.transport}</dd>
        </div>
        <div class="grow">
          <dt>Cursor</dt>
          <dd>
            {state.cursor === undefined ? (
              '–'
            ) : (
              <>
                <code data-fact="cursor">{state.cursor}</code>{' '}
                <CopyButton text={state.cursor} label="Copy the cursor" />
              </>
            )}
          </dd>
        </div>
      </dl>
      <p class="resumed muted" role="status" aria-label="Resume">
        <Resume state={state} />
      </p>
    </div>
  );
}

function Resume({ state: { waiting, resumed } }: { readonly state: TailState }): VNode {
  if (waiting !== undefined) {
    return (
      <>
        Connection lost ({waiting.reason}). Trying again within {duration(Math.max(waiting.pauseMs, 1))}, from
        the cursor above.
      </>
    );
  }
  if (resumed === undefined) {
    return <>Not interrupted so far.</>;
  }
  return (
    <>
      <span class="tick" aria-hidden="true">
        ✓
      </span>{' '}
      Resumed after {count(resumed.afterMs)} ms, {count(resumed.events)}{' '}
      {resumed.events === 1 ? 'event' : 'events'} caught up, nothing missed.
    </>
  );
}

function Events({ state }: { readonly state: TailState }): VNode {
  if (state.events.length === 0) {
    return (
      <Empty title={state.connection === 'live' ? 'Nothing yet' : 'Waiting for events'}>
        Events of {state.accessId} appear here as they are appended.
      </Empty>
    );
  }
  return (
    <>
      <ol class="events" aria-label={`Events of ${state.accessId}, newest first`}>
        {state.events.map((event) => (
          <EventLine key={event.cursor} event={event} />
        ))}
      </ol>
      {state.received > MAX_SHOWN ? (
        <p class="muted">The latest {MAX_SHOWN} are shown; the others are in the log.</p>
      ) : null}
    </>
  );
}

function EventLine({ event }: { readonly event: ClientEvent }): VNode {
  return (
    <li>
      <details>
        <summary>
          <span class="version">{event.version}</span>
          <span class="when">{time(event.recordedAt).slice(11)}</span>
          <code class="payload">{event.rawPayload.slice(0, 400)}</code>
        </summary>
        <dl class="facts">
          <div>
            <dt>created_at</dt>
            <dd>{event.createdAt}</dd>
          </div>
          <div>
            <dt>recorded_at</dt>
            <dd>{time(event.recordedAt)}</dd>
          </div>
          {event.id === null ? null : (
            <div>
              <dt>id</dt>
              <dd>
                <code>{event.id}</code>
              </dd>
            </div>
          )}
          <div>
            <dt>cursor</dt>
            <dd>
              <code>{event.cursor}</code>
            </dd>
          </div>
        </dl>
        <pre tabIndex={0} aria-label="Payload">
          {event.rawPayload}
        </pre>
      </details>
    </li>
  );
}
