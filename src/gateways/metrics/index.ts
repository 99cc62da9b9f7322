/**
 * GET /metrics (scope `admin`): the state of this process in the text form of Prometheus. What happens is counted where it
 * happens, in plain numbers; here they are read when somebody asks. Only the duration of commits is observed as it goes,
 * once a group. No access_id and no holder is ever a label.
 */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { z } from 'zod';
import { HIGH_WATER_BYTES, type Session, type SessionFeed } from '../../delivery/session.ts';
import type { Description } from '../../http/description.ts';
import { defineGateway, type PortsOf } from '../gateway.ts';

const description = {
  name: 'metrics',
  text: 'Figures for Prometheus.',
  routes: {
    'GET /metrics': {
      summary: 'The state of this node',
      access: 'admin',
      answers: { 200: { text: 'text exposition format 0.0.4', content: { 'text/plain': z.string() } } },
    },
  },
} as const satisfies Description;

/** Memory, processor, event loop: one set for the process, however many servers run in it. */
let processRegistry: Registry | undefined;

function processMetrics(): Registry {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
  }
  return processRegistry;
}

const needs = {
  ports: ['routes', 'guards', 'log', 'hub', 'meters', 'errors', 'walBytes'],
  settings: {},
} as const;

export const metrics = defineGateway({
  name: 'metrics',
  description,
  needs,
  mount(given) {
    const { routes, guards, meters } = given;
    const registry = new Registry();
    registerMetrics(given, registry);
    const mergedRegistry = Registry.merge([meters.registry, registry, processMetrics()]);
    routes.serve(description, {
      async 'GET /metrics'(request, response) {
        await guards.authorize(request, 'admin');
        response.setHeader('Content-Type', mergedRegistry.contentType);
        response.setHeader('Cache-Control', 'no-store');
        response.end(await mergedRegistry.metrics());
      },
    });
    return undefined;
  },
});

/** Registers what is read when somebody asks. */
function registerMetrics(
  { log, hub, walBytes, meters, errors }: PortsOf<typeof needs>,
  registry: Registry,
): void {
  addCounter(registry, 'lastseen_events_appended_total', 'Events appended by this node.', [], (increment) => {
    increment({}, log.counts.appendedEvents);
  });
  addCounter(
    registry,
    'lastseen_events_duplicate_total',
    'Events pushed that were in the log already.',
    [],
    (increment) => {
      increment({}, log.counts.duplicateEvents);
    },
  );
  addCounter(
    registry,
    'lastseen_append_batches_total',
    'Batches acknowledged by this node.',
    [],
    (increment) => {
      increment({}, log.counts.batches);
    },
  );
  addCounter(
    registry,
    'lastseen_store_errors_total',
    'Commits that the store failed to do.',
    [],
    (increment) => {
      increment({}, log.counts.failedCommits);
    },
  );
  addCounter(
    registry,
    'lastseen_background_errors_total',
    'Failures that nobody waited for; see the log.',
    [],
    (increment) => {
      increment({}, meters.faults);
    },
  );
  addCounter(
    registry,
    'lastseen_errors_total',
    'Errors told to clients, on every transport.',
    ['code'],
    (increment) => {
      for (const [code, count] of errors.counts) {
        increment({ code }, count);
      }
    },
  );
  addGauge(registry, 'lastseen_queue_events', 'Events waiting for their commit.', [], (set) => {
    set({}, log.queuedEvents);
  });
  addGauge(
    registry,
    'lastseen_head_position',
    'Position of the last event that this node knows of.',
    [],
    (set) => {
      set({}, log.head);
    },
  );
  addCounter(
    registry,
    'lastseen_delivered_events_total',
    'Events handed to connections: live, or while catching up; pages count as catching up.',
    ['gateway', 'phase'],
    (increment) => {
      for (const [gateway, { caughtUpEvents, liveEvents }] of hub.delivered()) {
        increment({ gateway, phase: 'catch_up' }, caughtUpEvents);
        increment({ gateway, phase: 'live' }, liveEvents);
      }
    },
  );
  addCounter(
    registry,
    'lastseen_delivered_bytes_total',
    'Bytes of events handed to connections.',
    ['gateway'],
    (increment) => {
      for (const [gateway, { bytes }] of hub.delivered()) {
        increment({ gateway }, bytes);
      }
    },
  );
  addGauge(
    registry,
    'lastseen_connections',
    'Sockets and event streams that are open.',
    ['gateway'],
    (set) => {
      const counts = new Map<string, number>();
      for (const { connection } of hub.sessions) {
        counts.set(connection.gateway, (counts.get(connection.gateway) ?? 0) + 1);
      }
      for (const [gateway, count] of counts) {
        set({ gateway }, count);
      }
    },
  );
  addGauge(registry, 'lastseen_subscriptions', 'Feeds that connections read.', ['state'], (set) => {
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
  addGauge(
    registry,
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
  addGauge(
    registry,
    'lastseen_buffered_bytes',
    'Bytes that wait in the buffers of all connections.',
    [],
    (set) => {
      let bytes = 0;
      for (const { connection } of hub.sessions) {
        bytes += connection.bufferedBytes;
      }
      set({}, bytes);
    },
  );
  if (walBytes === undefined) {
    return;
  }
  addGauge(
    registry,
    'lastseen_sqlite_wal_bytes',
    'Bytes of the write-ahead log beside the file.',
    [],
    (set) => {
      set({}, walBytes());
    },
  );
}

/** A counter that takes its values when it is read. */
function addCounter<T extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly T[],
  read: (increment: (labels: Readonly<Record<T, string>>, value: number) => void) => void,
): void {
  new Counter<T>({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      read((labels, value) => {
        this.inc(labels, value);
      });
    },
  });
}

function addGauge<T extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly T[],
  read: (set: (labels: Readonly<Record<T, string>>, value: number) => void) => void,
): void {
  new Gauge<T>({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      read((labels, value) => {
        this.set(labels, value);
      });
    },
  });
}

/** Not yet at the tail, or fallen back from it because its wire is full. */
function isBehind(session: Session, feed: SessionFeed): boolean {
  return !feed.isLive || session.connection.bufferedBytes >= HIGH_WATER_BYTES;
}
