/**
 * GET /metrics (scope `admin`): the state of this process in the text form of Prometheus. What happens is counted where it
 * happens, in plain numbers; here they are read when somebody asks. Only the duration of commits is observed as it goes,
 * once a group. No access_id and no holder is ever a label.
 */
import type { Express } from 'express';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { z } from 'zod';
import type { Hub } from '../../delivery/hub.ts';
import { HIGH_WATER_BYTES, type Session, type SessionFeed } from '../../delivery/session.ts';
import { LastseenError } from '../../errors.ts';
import type { Description } from '../../http/description.ts';
import type { Guards } from '../../http/guards.ts';
import { errorsSaid } from '../../http/problem.ts';
import type { Log } from '../../log/log.ts';

export const metricsDescription: Description = {
  name: 'metrics',
  text: 'Figures for Prometheus.',
  routes: {
    'GET /metrics': {
      summary: 'The state of this node',
      access: 'admin',
      answers: { 200: { text: 'text exposition format 0.0.4', content: { 'text/plain': z.string() } } },
    },
  },
};

export interface Metrics {
  /** A commit took so long. */
  commitTook(ms: number): void;
  /** Something failed that nobody asked for. */
  countFault(): void;
  /** Serves them. */
  mount(options: MetricsOptions): void;
}

export interface MetricsOptions {
  readonly app: Express;
  readonly guards: Guards;
  readonly log: Log;
  readonly hub: Hub;
  /** Bytes of the write-ahead log, where the engine has one of its own. */
  readonly walBytes?: (() => number) | undefined;
}

/** A fast disk flushes in less than a millisecond; beyond seconds something is wrong. */
const COMMIT_BUCKETS_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** Memory, processor, event loop: one set for the process, however many servers run in it. */
let processRegistry: Registry | undefined;

function processMetrics(): Registry {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
  }
  return processRegistry;
}

export function createMetrics(): Metrics {
  const registers = [new Registry()];
  const commits = new Histogram({
    name: 'lastseen_commit_duration_seconds',
    help: 'Time of one group commit, flush included.',
    buckets: COMMIT_BUCKETS_SECONDS,
    registers,
  });
  let faults = 0;

  /** A counter that takes its values when it is read. */
  function counter<T extends string>(
    name: string,
    help: string,
    labelNames: readonly T[],
    read: (inc: (labels: Readonly<Record<T, string>>, value: number) => void) => void,
  ): void {
    new Counter<T>({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        read((labels, value) => {
          this.inc(labels, value);
        });
      },
    });
  }

  function gauge<T extends string>(
    name: string,
    help: string,
    labelNames: readonly T[],
    read: (set: (labels: Readonly<Record<T, string>>, value: number) => void) => void,
  ): void {
    new Gauge<T>({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        read((labels, value) => {
          this.set(labels, value);
        });
      },
    });
  }

  function describe({ log, hub, walBytes }: MetricsOptions): void {
    counter('lastseen_events_appended_total', 'Events appended by this node.', [], (inc) => {
      inc({}, log.counts.appendedEvents);
    });
    counter('lastseen_events_duplicate_total', 'Events pushed that were in the log already.', [], (inc) => {
      inc({}, log.counts.duplicateEvents);
    });
    counter('lastseen_append_batches_total', 'Batches acknowledged by this node.', [], (inc) => {
      inc({}, log.counts.batches);
    });
    counter('lastseen_store_errors_total', 'Commits that the store failed to do.', [], (inc) => {
      inc({}, log.counts.failedCommits);
    });
    counter(
      'lastseen_background_errors_total',
      'Failures that nobody waited for; see the log.',
      [],
      (inc) => {
        inc({}, faults);
      },
    );
    counter('lastseen_errors_total', 'Errors told to clients, on every transport.', ['code'], (inc) => {
      for (const [code, count] of errorsSaid()) {
        inc({ code }, count);
      }
    });
    gauge('lastseen_queue_events', 'Events waiting for their commit.', [], (set) => {
      set({}, log.queuedEvents);
    });
    gauge('lastseen_head_position', 'Position of the last event that this node knows of.', [], (set) => {
      set({}, log.head);
    });
    counter(
      'lastseen_delivered_events_total',
      'Events handed to connections: live, or while catching up; pages count as catching up.',
      ['gateway', 'phase'],
      (inc) => {
        for (const [gateway, { caughtUpEvents, liveEvents }] of hub.delivered()) {
          inc({ gateway, phase: 'catch_up' }, caughtUpEvents);
          inc({ gateway, phase: 'live' }, liveEvents);
        }
      },
    );
    counter(
      'lastseen_delivered_bytes_total',
      'Bytes of events handed to connections.',
      ['gateway'],
      (inc) => {
        for (const [gateway, { bytes }] of hub.delivered()) {
          inc({ gateway }, bytes);
        }
      },
    );
    gauge('lastseen_connections', 'Sockets and event streams that are open.', ['gateway'], (set) => {
      const counts = new Map<string, number>();
      for (const { connection } of hub.sessions) {
        counts.set(connection.gateway, (counts.get(connection.gateway) ?? 0) + 1);
      }
      for (const [gateway, count] of counts) {
        set({ gateway }, count);
      }
    });
    gauge('lastseen_subscriptions', 'Feeds that connections read.', ['state'], (set) => {
      let behind = 0;
      let all = 0;
      for (const session of hub.sessions) {
        all += session.feeds.length;
        for (const feed of session.feeds) {
          behind += isBehind(session, feed) ? 1 : 0;
        }
      }
      set({ state: 'live' }, all - behind);
      set({ state: 'catching_up' }, behind);
    });
    gauge(
      'lastseen_lag_events',
      'Positions between the head and the slowest reader; 0: all are live.',
      [],
      (set) => {
        let lag = 0;
        for (const session of hub.sessions) {
          for (const feed of session.feeds) {
            if (isBehind(session, feed)) {
              lag = Math.max(lag, log.head - feed.position);
            }
          }
        }
        set({}, lag);
      },
    );
    gauge('lastseen_buffered_bytes', 'Bytes that wait in the buffers of all connections.', [], (set) => {
      let bytes = 0;
      for (const { connection } of hub.sessions) {
        bytes += connection.bufferedBytes;
      }
      set({}, bytes);
    });
    if (walBytes === undefined) {
      return;
    }
    gauge('lastseen_sqlite_wal_bytes', 'Bytes of the write-ahead log beside the file.', [], (set) => {
      set({}, walBytes());
    });
  }

  return {
    commitTook(ms) {
      commits.observe(ms / 1_000);
    },
    countFault() {
      faults += 1;
    },
    mount(options) {
      const { app, guards } = options;
      describe(options);
      const all = Registry.merge([...registers, processMetrics()]);
      app.get('/metrics', async (request, response) => {
        await guards.authorize(request, 'admin');
        response.setHeader('Content-Type', all.contentType);
        response.setHeader('Cache-Control', 'no-store');
        response.end(await all.metrics());
      });
      app.all('/metrics', (_request, response) => {
        response.setHeader('Allow', 'GET');
        throw new LastseenError('ERR_METHOD', 'only GET is served here');
      });
    },
  };
}

/** Not yet at the tail, or fallen back from it because its wire is full. */
function isBehind(session: Session, feed: SessionFeed): boolean {
  return !feed.isLive || session.connection.bufferedBytes >= HIGH_WATER_BYTES;
}
