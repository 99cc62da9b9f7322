/** Who asks too much, too often: by principal on what it does, by address and client on what it tries. */
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { LastseenError } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';

export interface Limits {
  /** @throws ERR_RATE_LIMITED */
  takeRequest(principal: Principal): void;
  /** @throws ERR_RATE_LIMITED */
  takeEvents(principal: Principal, count: number): void;
  /** Before a secret is looked at. @throws ERR_RATE_LIMITED after too many failures under any of the names */
  checkAttempts(names: readonly string[]): Promise<void>;
  /** A secret was wrong. */
  failed(names: readonly string[]): Promise<void>;
}

export interface LimitOptions {
  /** A principal's requests and pushed events a second; 0: no limit. */
  readonly maxRequestsPerSecond: number;
  readonly maxEventsPerSecond: number;
}

/** Wrong secrets a minute under one name. */
const MAX_FAILURES = 10;
const FAILURE_SECONDS = 60;

/** Buckets are forgotten when they are full again; more principals than this at once share none. */
const MAX_BUCKETS = 100_000;

interface Bucket {
  tokens: number;
  at: number;
}

export function createLimits(options: LimitOptions): Limits {
  const requests = createBuckets(options.maxRequestsPerSecond, 1);
  // One whole batch may always go when nothing went for a while.
  const events = createBuckets(options.maxEventsPerSecond, 10);
  const failures = new RateLimiterMemory({ points: MAX_FAILURES, duration: FAILURE_SECONDS });

  return {
    takeRequest: (principal) => {
      requests(principal.subject, 1, 'requests');
    },
    takeEvents: (principal, count) => {
      events(principal.subject, count, 'events');
    },
    async checkAttempts(names) {
      for (const name of names) {
        const state = await failures.get(name);
        if (state !== null && state.consumedPoints >= MAX_FAILURES) {
          throw limited('too many wrong secrets', state.msBeforeNext);
        }
      }
    },
    async failed(names) {
      for (const name of names) {
        await failures.penalty(name);
      }
    },
  };
}

/** A bucket a name: `perSecond` flow in, up to `seconds` of them stay. */
function createBuckets(
  perSecond: number,
  seconds: number,
): (name: string, count: number, what: string) => void {
  const buckets = new Map<string, Bucket>();
  const size = perSecond * seconds;
  return (name, count, what) => {
    if (perSecond === 0) {
      return;
    }
    const now = performance.now();
    const bucket = buckets.get(name) ?? { tokens: size, at: now };
    bucket.tokens = Math.min(size, bucket.tokens + ((now - bucket.at) / 1_000) * perSecond);
    bucket.at = now;
    if (!buckets.has(name)) {
      if (buckets.size >= MAX_BUCKETS) {
        buckets.clear();
      }
      buckets.set(name, bucket);
    }
    // What is larger than the bucket goes when it is full, and is paid for afterwards.
    if (bucket.tokens < Math.min(count, size)) {
      const missing = Math.min(count, size) - bucket.tokens;
      throw limited(`more than ${perSecond} ${what} a second`, (missing / perSecond) * 1_000);
    }
    bucket.tokens -= count;
  };
}

function limited(reason: string, waitMs: number): LastseenError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1_000));
  return new LastseenError('ERR_RATE_LIMITED', `${reason}: try again in ${seconds} s`, {
    retryAfterSeconds: seconds,
  });
}
