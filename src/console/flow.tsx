/** What flows through the node: in, out, and what it costs. */
import type { VNode } from 'preact';
import { bytes, compact, count, duration } from './format.ts';
import { ErrorNotice, Loading } from './notice.tsx';
import { Plot } from './plot.tsx';
import { quantile, rate, type Sample, total } from './prometheus.ts';
import type { ViewProps } from './view.ts';

const APPENDED = 'lastseen_events_appended_total';
const DELIVERED = 'lastseen_delivered_events_total';
const COMMIT = 'lastseen_commit_duration_seconds';

export function FlowView({ samples, isShown }: ViewProps): VNode {
  const { all, latest, error } = samples;
  const previous = all.at(-2);
  return (
    <div class="stack">
      <h1>Flow</h1>
      <p class="muted">This node, by its own metrics, every two seconds; the last ten minutes.</p>
      <ErrorNotice error={error} />
      {latest === undefined || previous === undefined ? (
        error === undefined ? (
          <Loading what="two samples to compare" />
        ) : null
      ) : (
        <>
          <Tiles before={previous} now={latest} />
          {isShown ? <Plots all={all} /> : null}
          <Errors now={latest} />
        </>
      )}
    </div>
  );
}

function Tiles({ before, now }: { readonly before: Sample; readonly now: Sample }): VNode {
  const commit = (q: number): string => duration(quantile(before, now, COMMIT, q) * 1_000);
  const tiles: readonly [name: string, value: string, note: string][] = [
    ['Ingest', `${compact(rate(before, now, APPENDED))}/s`, `${count(total(now, APPENDED))} since the start`],
    [
      'Delivery',
      `${compact(rate(before, now, DELIVERED))}/s`,
      `${count(total(now, DELIVERED))} since the start`,
    ],
    ['Commit, median', commit(0.5), `99th percentile ${commit(0.99)}`],
    [
      'Connections',
      count(total(now, 'lastseen_connections')),
      `${count(total(now, 'lastseen_subscriptions', 'state="catching_up"'))} catching up`,
    ],
    ['Slowest reader', count(total(now, 'lastseen_lag_events')), 'positions behind the head'],
    ['Queue', count(total(now, 'lastseen_queue_events')), 'events waiting for their commit'],
    [
      'Memory',
      bytes(total(now, 'process_resident_memory_bytes')),
      now.values.has('lastseen_sqlite_wal_bytes')
        ? `write-ahead log ${bytes(total(now, 'lastseen_sqlite_wal_bytes'))}`
        : 'resident',
    ],
    [
      'Event loop lag',
      duration(total(now, 'nodejs_eventloop_lag_p50_seconds') * 1_000),
      `99th percentile ${duration(total(now, 'nodejs_eventloop_lag_p99_seconds') * 1_000)}`,
    ],
  ];
  return (
    <dl class="tiles">
      {tiles.map(([name, value, note]) => (
        <div key={name} class="card">
          <dt>{name}</dt>
          <dd class="tile-value">{value}</dd>
          <dd class="muted">{note}</dd>
        </div>
      ))}
    </dl>
  );
}

function Plots({ all }: { readonly all: readonly Sample[] }): VNode {
  const pairs = all.slice(1).map((now, at) => [all[at] ?? now, now] as const);
  const x = pairs.map(([, now]) => now.at / 1_000);
  const line = (name: string, having = ''): number[] =>
    pairs.map(([before, now]) => rate(before, now, name, having));
  const level = (name: string, having = ''): number[] => pairs.map(([, now]) => total(now, name, having));
  const commits = (q: number): (number | null)[] =>
    pairs.map(([before, now]) => {
      const seconds = quantile(before, now, COMMIT, q);
      return Number.isNaN(seconds) ? null : seconds * 1_000;
    });
  return (
    <div class="plots">
      <section class="card">
        <h2>Ingest, events a second</h2>
        <Plot
          label="Events appended a second, over time"
          isTime
          x={x}
          series={[
            { label: 'appended', values: line(APPENDED) },
            { label: 'there already', values: line('lastseen_events_duplicate_total') },
          ]}
        />
      </section>
      <section class="card">
        <h2>Delivery, events a second</h2>
        <Plot
          label="Events delivered a second, over time"
          isTime
          x={x}
          series={[
            { label: 'live', values: line(DELIVERED, 'phase="live"') },
            { label: 'catching up', values: line(DELIVERED, 'phase="catch_up"') },
          ]}
        />
      </section>
      <section class="card">
        <h2>Commit, milliseconds</h2>
        <Plot
          label="Duration of commits in milliseconds, over time"
          isTime
          x={x}
          series={[
            { label: 'median', values: commits(0.5) },
            { label: '99th percentile', values: commits(0.99) },
          ]}
        />
      </section>
      <section class="card">
        <h2>Feeds that are read</h2>
        <Plot
          label="Feeds that are read, over time"
          isTime
          x={x}
          series={[
            { label: 'live', values: level('lastseen_subscriptions', 'state="live"') },
            { label: 'catching up', values: level('lastseen_subscriptions', 'state="catching_up"') },
          ]}
        />
      </section>
    </div>
  );
}

function Errors({ now }: { readonly now: Sample }): VNode {
  const errors = [...now.values].flatMap(([key, value]) => {
    const code = /^lastseen_errors_total\{code="(\w+)"\}$/.exec(key)?.[1];
    return code === undefined ? [] : [[code, value] as const];
  });
  const failures = total(now, 'lastseen_store_errors_total') + total(now, 'lastseen_background_errors_total');
  return (
    <section class="card">
      <h2>Errors told to clients since the start</h2>
      {errors.length === 0 ? (
        <p class="muted">None.</p>
      ) : (
        <ul class="chips">
          {errors
            .sort(([, a], [, b]) => b - a)
            .map(([code, value]) => (
              <li key={code}>
                <code>{code}</code> {count(value)}
              </li>
            ))}
        </ul>
      )}
      <p class="muted">
        {failures === 0
          ? 'No failure of the store or in the background.'
          : `${count(failures)} failures of the store or in the background: see the server's log.`}
      </p>
    </section>
  );
}
