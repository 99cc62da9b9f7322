/** What is measured as it happens: everything else is read when somebody asks for the metrics. */
import { Histogram, Registry } from 'prom-client';

export interface Meters {
  /** A commit took so long. */
  observeCommit(ms: number): void;
  /** Something failed that nobody waited for. */
  countFault(): void;
  readonly faults: number;
  readonly registry: Registry;
}

/** A fast disk flushes in less than a millisecond; beyond seconds something is wrong. */
const COMMIT_BUCKETS_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

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
