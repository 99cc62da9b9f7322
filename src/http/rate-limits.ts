/** Who asks too much, too often: by principal on what it does, by address and client on what it tries. */
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { createTokenBucket, type TokenBucket } from '../delivery/token-bucket.ts';
import { LastseenError } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import type { Clock } from '../runtime.ts';

export interface RateLimits {
  /** @throws ERR_RATE_LIMITED */
  countRequest(principal: Principal): void;
  /** @throws ERR_RATE_LIMITED */
  countEvents(principal: Principal, count: number): void;
  /** Before a secret is looked at. @throws ERR_RATE_LIMITED after too many failures under any of the names */
  requireAttemptsLeft(names: readonly string[]): Promise<void>;
  /** A secret was wrong. */
  recordFailure(names: readonly string[]): Promise<void>;
}

export interface RateLimitOptions {
  /** A principal's requests and pushed events a second; 0: no limit. */
  readonly maxRequestsPerSecond: number;
  readonly maxEventsPerSecond: number;
  readonly clock: Clock;
}

/** Wrong secrets a minute under one name. */
const MAX_FAILURES = 10;
const FAILURE_SECONDS = 60;

/** Names that have a bucket at once; one more empties the table, and every bucket begins full. */
const MAX_BUCKETS = 100_000;

export function createRateLimits(options: RateLimitOptions): RateLimits {
  const { maxRequestsPerSecond, maxEventsPerSecond, clock } = options;
  const requests = createBuckets('requests', { perSecond: maxRequestsPerSecond, seconds: 1, clock });
  // One whole batch may always go when nothing went for a while.
  const events = createBuckets('events', { perSecond: maxEventsPerSecond, seconds: 10, clock });
  const failures = new RateLimiterMemory({ points: MAX_FAILURES, duration: FAILURE_SECONDS });

  return {
    countRequest: (principal) => {
      requests(principal.subject, 1);
    },
    countEvents: (principal, count) => {
      events(principal.subject, count);
    },
    async requireAttemptsLeft(names) {
      for (const name of names) {
        const state = await failures.get(name);
        if (state !== null && state.consumedPoints >= MAX_FAILURES) {
          throw rateLimitedError('too many wrong secrets', state.msBeforeNext);
        }
      }
    },
    async recordFailure(names) {
      for (const name of names) {
        await failures.penalty(name);
      }
    },
  };
}

/** A bucket for each name: `perSecond` tokens flow in, those of `seconds` stay. */
function createBuckets(
  unit: string,
  {
    perSecond,
    seconds,
    clock,
  }: { readonly perSecond: number; readonly seconds: number; readonly clock: Clock },
): (name: string, count: number) => void {
  const buckets = new Map<string, TokenBucket>();
  return (name, count) => {
    if (perSecond === 0) {
      return;
    }
    let bucket = buckets.get(name);
    if (bucket === undefined) {
      if (buckets.size >= MAX_BUCKETS) {
        buckets.clear();
      }
      bucket = createTokenBucket({ capacity: perSecond * seconds, perSecond, clock });
      buckets.set(name, bucket);
    }
    const waitMs = bucket.take(count);
    if (waitMs > 0) {
      throw rateLimitedError(`more than ${perSecond} ${unit} per second`, waitMs);
    }
  };
}

function rateLimitedError(reason: string, waitMs: number): LastseenError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1_000));
  return new LastseenError('ERR_RATE_LIMITED', `${reason}: try again in ${seconds} s`, {
    retryAfterSeconds: seconds,
  });
}
