/** Metrics that are observed as they happen. A scrape reads all others. */
import { Histogram, Registry } from 'prom-client';

/** Observed metrics. */
export interface Meters {
  /** Observes the duration of a commit. */
  observeCommit(ms: number): void;
  /** Counts a failure of background work. */
  countFault(): void;
  readonly faults: number;
  readonly registry: Registry;
}

/** A fast disk flushes in less than 1 ms. A commit above 1 s points to a fault. */
const COMMIT_BUCKETS_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** Creates the metrics. */
export function createMeters(): Meters {
  const registry = new Registry();
  const commits = new Histogram({
    name: 'lastseen_commit_duration_seconds',
    help: 'Time of one group commit, flush included.',
    buckets: COMMIT_BUCKETS_SECONDS,
    registers: [registry],
  });
  let faults = 0;
  return {
    registry,
    observeCommit(ms) {
      commits.observe(ms / 1_000);
    },
    countFault() {
      faults += 1;
    },
    get faults() {
      return faults;
    },
  };
}
