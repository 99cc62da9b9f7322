/** When the token of a connection ends: a word before, and the end. */

/** How long before its end a token is said to be ending: a minute, or half of what is left when it is shorter. */
const WARN_MS = 60_000;

/** Timers take at most so much. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface Deadline {
  /** Milliseconds since 1970; `null`: none. Replaces the one before. */
  set(expiresAt: number | null): void;
}

export function createDeadline(onExpiring: (seconds: number) => void, onExpired: () => void): Deadline {
  let timer: NodeJS.Timeout | undefined;

  function wait(until: number, then: () => void): void {
    const left = until - Date.now();
    timer = setTimeout(
      () => {
        if (until > Date.now()) {
          wait(until, then);
        } else {
          then();
        }
      },
      Math.min(Math.max(left, 0), MAX_TIMER_MS),
    );
  }

  return {
    set(expiresAt) {
      clearTimeout(timer);
      if (expiresAt === null) {
        return;
      }
      const left = Math.max(0, expiresAt - Date.now());
      wait(expiresAt - Math.min(WARN_MS, left / 2), () => {
        onExpiring(Math.max(0, Math.round((expiresAt - Date.now()) / 1_000)));
        wait(expiresAt, onExpired);
      });
    },
  };
}
