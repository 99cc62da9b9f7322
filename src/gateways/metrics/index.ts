/**
 * GET /metrics (scope `admin`): the state of this process in the text format of Prometheus. Each room counts
 * its own events in plain numbers, and a scrape reads them. Only the duration of a group commit is observed
 * as it happens. Labels contain no access_id and no principal.
 */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { z } from 'zod';
import type { HubSession, SessionFeed } from '../../delivery/session.ts';
import type { Description } from '../../http/description.ts';
import { defineGateway, type PortsOf } from '../gateway.ts';

const description = {
  name: 'metrics',
  text: 'Returns metrics for Prometheus.',
  routes: {
    'GET /metrics': {
      summary: 'Returns the metrics of this node',
      access: 'admin',
      answers: { 200: { text: 'text exposition format 0.0.4', content: { 'text/plain': z.string() } } },
    },
  },
} as const satisfies Description;

/**
 * Metrics of memory, processor and event loop. One set serves the process, for any number of servers in it.
 */
let processRegistry: Registry | undefined;

function processMetrics(): Registry {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
  }
  return processRegistry;
}

const needs = {
  ports: ['routes', 'guards', 'log', 'hub', 'budgets', 'meters', 'errors', 'wal'],
  settings: {},
} as const;

/** The metrics gateway. */
export const metrics = defineGateway({
  name: 'metrics',
  description,
  needs,
  mount(ports) {
    const { routes, guards, meters } = ports;
    const registry = new Registry();
    registerMetrics(ports, registry);
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

/** Registers the metrics that a scrape reads. */
function registerMetrics(
  { log, hub, budgets, wal, meters, errors }: PortsOf<typeof needs>,
  registry: Registry,
): void {
  addCounter(registry, {
    name: 'lastseen_events_appended_total',
    help: 'Events appended by this node.',
    read: (report) => {
      report({}, log.counts.appendedEvents);
    },
  });
  addCounter(registry, {
    name: 'lastseen_events_duplicate_total',
    help: 'Pushed events that the log contained before.',
    read: (report) => {
      report({}, log.counts.duplicateEvents);
    },
  });
  addCounter(registry, {
    name: 'lastseen_append_batches_total',
    help: 'Batches acknowledged by this node.',
    read: (report) => {
      report({}, log.counts.batches);
    },
  });
  addCounter(registry, {
    name: 'lastseen_store_errors_total',
    help: 'Commits that failed.',
    read: (report) => {
      report({}, log.counts.failedCommits);
    },
  });
  addCounter(registry, {
    name: 'lastseen_background_errors_total',
    help: 'Failures of background work; see the log of the server.',
    read: (report) => {
      report({}, meters.faults);
    },
  });
  addCounter(registry, {
    name: 'lastseen_errors_total',
    help: 'Errors that clients received, on every transport.',
    labelNames: ['code'],
    read: (report) => {
      for (const [code, count] of errors.counts) {
        report({ code }, count);
      }
    },
  });
  addGauge(registry, {
    name: 'lastseen_queue_events',
    help: 'Events that wait for their commit.',
    read: (report) => {
      report({}, log.queuedEvents);
    },
  });
  addGauge(registry, {
    name: 'lastseen_head_position',
    help: 'Position of the last event that this node knows.',
    read: (report) => {
      report({}, log.head.position);
    },
  });
  addCounter(registry, {
    name: 'lastseen_delivered_events_total',
    help: 'Events written to connections, live or during catch-up. Pages count as catch-up.',
    labelNames: ['gateway', 'phase'],
    read: (report) => {
      for (const [gateway, { caughtUpEvents, liveEvents }] of hub.delivered()) {
        report({ gateway, phase: 'catch_up' }, caughtUpEvents);
        report({ gateway, phase: 'live' }, liveEvents);
      }
    },
  });
  addCounter(registry, {
    name: 'lastseen_delivered_bytes_total',
    help: 'Bytes of events written to connections.',
    labelNames: ['gateway'],
    read: (report) => {
      for (const [gateway, { bytes }] of hub.delivered()) {
        report({ gateway }, bytes);
      }
    },
  });
  addGauge(registry, {
    name: 'lastseen_connections',
    help: 'Open sockets, event streams and pages under way.',
    labelNames: ['gateway'],
    read: (report) => {
      const counts = new Map<string, number>();
      for (const { connection } of hub.sessions) {
        counts.set(connection.gateway, (counts.get(connection.gateway) ?? 0) + 1);
      }
      for (const [gateway, count] of counts) {
        report({ gateway }, count);
      }
    },
  });
  addGauge(registry, {
    name: 'lastseen_subscriptions',
    help: 'Feeds that connections read.',
    labelNames: ['state'],
    read: (report) => {
      let behind = 0;
      let all = 0;
      for (const session of hub.sessions) {
        all += session.feeds.length;
        for (const feed of session.feeds) {
          behind += isBehind(session, feed) ? 1 : 0;
        }
      }
      report({ state: 'live' }, all - behind);
      report({ state: 'catching_up' }, behind);
    },
  });
  addGauge(registry, {
    name: 'lastseen_lag_events',
    help: 'Positions between the head and the slowest reader; 0 if all readers are live.',
    read: (report) => {
      let lag = 0;
      for (const session of hub.sessions) {
        for (const feed of session.feeds) {
          if (isBehind(session, feed)) {
            lag = Math.max(lag, log.head.position - feed.place.position);
          }
        }
      }
      report({}, lag);
    },
  });
  addGauge(registry, {
    name: 'lastseen_buffered_bytes',
    help: 'Bytes in the buffers of all connections.',
    read: (report) => {
      let bytes = 0;
      for (const { connection } of hub.sessions) {
        bytes += connection.bufferedBytes;
      }
      report({}, bytes);
    },
  });
  addGauge(registry, {
    name: 'lastseen_budget_reserved_bytes',
    help: 'Bytes that are reserved in a memory budget.',
    labelNames: ['budget'],
    read: (report) => {
      for (const { name, reservedBytes } of budgets) {
        report({ budget: name }, reservedBytes);
      }
    },
  });
  addGauge(registry, {
    name: 'lastseen_budget_limit_bytes',
    help: 'Limit of a memory budget.',
    labelNames: ['budget'],
    read: (report) => {
      for (const { name, limitBytes } of budgets) {
        report({ budget: name }, limitBytes);
      }
    },
  });
  addGauge(registry, {
    name: 'lastseen_budget_waiting_requests',
    help: 'Requests that wait for bytes of a memory budget.',
    labelNames: ['budget'],
    read: (report) => {
      for (const { name, waiting } of budgets) {
        report({ budget: name }, waiting);
      }
    },
  });
  addCounter(registry, {
    name: 'lastseen_budget_refusals_total',
    help: 'Requests that a memory budget has refused.',
    labelNames: ['budget'],
    read: (report) => {
      for (const { name, refusals } of budgets) {
        report({ budget: name }, refusals);
      }
    },
  });
  if (wal === undefined) {
    return;
  }
  addGauge(registry, {
    name: 'lastseen_sqlite_wal_bytes',
    help: 'Bytes of the write-ahead log beside the file.',
    read: (report) => {
      report({}, wal.bytes());
    },
  });
  addGauge(registry, {
    name: 'lastseen_sqlite_wal_pinned_seconds',
    help: 'How long a reader has kept the write-ahead log from being reused; 0 if none does.',
    read: (report) => {
      report({}, wal.pinnedMs() / 1_000);
    },
  });
}

interface MetricOptions<T extends string> {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly T[];
  /** Runs on each scrape; it passes each value to `report`. */
  readonly read: (report: (labels: Readonly<Record<T, string>>, value: number) => void) => void;
}

/** A counter whose values are read on each scrape. */
function addCounter<T extends string>(
  registry: Registry,
  { name, help, labelNames = [], read }: MetricOptions<T>,
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

/** A gauge whose values are read on each scrape. */
function addGauge<T extends string>(
  registry: Registry,
  { name, help, labelNames = [], read }: MetricOptions<T>,
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

/** Returns true if a reader has not reached the tail, or has fallen behind because its buffer is full. */
function isBehind(session: HubSession, feed: SessionFeed): boolean {
  return !feed.isLive || session.connection.isFull;
}
