/** Pauses between attempts: exponential back-off with full jitter, so that many clients do not reconnect at once. */
import type { Random } from './runtime.ts';

export interface BackoffLimits {
  /** Doubled with each attempt: the longest pause is twice this after the first attempt, four times after the second. */
  readonly baseMs: number;
  /** The longest pause of all. */
  readonly maxMs: number;
}

/** Of requests and subscriptions over a network. */
export const NETWORK_BACKOFF: BackoffLimits = { baseMs: 200, maxMs: 20_000 };

export interface BackoffOptions extends BackoffLimits {
  readonly random: Pick<Random, 'fraction'>;
  /** The pause is never shorter, e.g. because the server asks for it. Default 0. */
  readonly atLeastMs?: number;
}

/** Milliseconds to wait after attempt number `attempt`, counted from 1. */
export function backoffMs(attempt: number, { baseMs, maxMs, random, atLeastMs = 0 }: BackoffOptions): number {
  const longestMs = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 10));
  return Math.max(atLeastMs, random.fraction() * longestMs);
}
