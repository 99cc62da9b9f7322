/** Pauses between tries: full jitter, so that many clients do not come back at once. */

const BASE_MS = 200;
const MAX_MS = 20_000;

/** Milliseconds before try `attempt` + 1 (from 1); never less than the server asked for. */
export function pauseMs(attempt: number, retryAfterSeconds = 0): number {
  const longest = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(attempt, 10));
  return Math.max(retryAfterSeconds * 1_000, Math.random() * longest);
}

/** Resolves after the time, or at once when the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
