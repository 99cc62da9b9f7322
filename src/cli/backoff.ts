/** Waiting before another try: full jitter, growing, never under what the server asked for. */

const BASE_MS = 250;
const MAX_MS = 10_000;

/** Milliseconds before try number `attempt` (1, 2, …). */
export function backoffMs(attempt: number, retryAfterSeconds = 0): number {
  const ceiling = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(attempt, 10));
  return retryAfterSeconds * 1000 + Math.random() * ceiling;
}
