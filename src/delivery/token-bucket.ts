/** Limits a rate with a token bucket. */
import type { Clock } from '../runtime.ts';

/** A bucket that refills at a constant rate. */
export interface TokenBucket {
  /**
   * Takes `count` tokens (default 1) and returns 0. If the bucket has too few, returns the milliseconds until
   * it has enough. A count above the capacity is granted when the bucket is full, and the bucket then has a
   * debt.
   */
  take(count?: number): number;
}

/** Capacity and rate. */
export interface TokenBucketOptions {
  /** Tokens in a full bucket. The bucket starts full. */
  readonly capacity: number;
  readonly perSecond: number;
  readonly clock: Clock;
}

/** Creates a full bucket. */
export function createTokenBucket({ capacity, perSecond, clock }: TokenBucketOptions): TokenBucket {
  let tokens = capacity;
  let filledAt = clock.steady();
  return {
    take(count = 1) {
      const now = clock.steady();
      tokens = Math.min(capacity, tokens + ((now - filledAt) / 1_000) * perSecond);
      filledAt = now;
      const missing = Math.min(count, capacity) - tokens;
      if (missing > 0) {
        return (missing / perSecond) * 1_000;
      }
      tokens -= count;
      return 0;
    },
  };
}
