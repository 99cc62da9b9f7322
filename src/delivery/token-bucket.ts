/** How often something may be done: a token bucket. */
import type { Clock } from '../runtime.ts';

export interface TokenBucket {
  /**
   * Takes so many tokens. Returns 0, or the milliseconds until as many are there. A number above the capacity is taken
   * when the bucket is full, and is paid for afterwards.
   */
  take(count?: number): number;
}

export interface TokenBucketOptions {
  /** Tokens of a full bucket, with which it begins. */
  readonly capacity: number;
  readonly perSecond: number;
  readonly clock: Clock;
}

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
