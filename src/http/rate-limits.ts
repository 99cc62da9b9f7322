/** Rate limits: by principal for requests and events, by address and client for failed authentication. */
import { RateLimiterMemory } from 'rate-limiter-flexible';
import { createTokenBucket, type TokenBucket } from '../delivery/token-bucket.ts';
import { LastseenError } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import type { Clock } from '../runtime.ts';

/** The rate limits. */
export interface RateLimits {
  /**
   * Counts one request.
   * @throws ERR_RATE_LIMITED
   */
  countRequest(principal: Principal): void;
  /**
   * Counts pushed events.
   * @throws ERR_RATE_LIMITED
   */
  countEvents(principal: Principal, count: number): void;
  /**
   * Call it before a secret is checked.
   * @throws ERR_RATE_LIMITED after too many failures under one of the names
   */
  requireAttemptsLeft(names: readonly string[]): Promise<void>;
  /** Counts a wrong secret under each name. */
  recordFailure(names: readonly string[]): Promise<void>;
}

/** The limits. */
export interface RateLimitOptions {
  /** Requests of a principal per second; 0: no limit. */
  readonly maxRequestsPerSecond: number;
  /** Pushed events of a principal per second; 0: no limit. */
  readonly maxEventsPerSecond: number;
  readonly clock: Clock;
}

/** Maximum number of wrong secrets per minute under one name. */
const MAX_FAILURES = 10;
const FAILURE_SECONDS = 60;

/**
 * Maximum number of buckets. When a new name exceeds it, all buckets are discarded, and each name starts with
 * a full bucket.
 */
const MAX_BUCKETS = 100_000;

/** Creates the rate limits. */
export function createRateLimits(options: RateLimitOptions): RateLimits {
  const { maxRequestsPerSecond, maxEventsPerSecond, clock } = options;
  const requests = createBuckets('requests', { perSecond: maxRequestsPerSecond, seconds: 1, clock });
  // The bucket of events has the tokens of 10 s, so that a full batch passes after an idle time.
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

/**
 * Creates one bucket for each name, with `perSecond` tokens per second and a capacity of `seconds` seconds.
 */
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
  return new LastseenError('ERR_RATE_LIMITED', `${reason}: retry in ${seconds} s`, {
    retryAfterSeconds: seconds,
  });
}
