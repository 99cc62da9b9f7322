/** Warns before the token of a connection expires, then ends the connection. */
import { type Cancel, MAX_TIMER_MS, type Runtime } from '../runtime.ts';

/** The warning comes a minute before the token expires, or at half of the remaining time when that is later. */
const WARN_MS = 60_000;

export interface Deadline {
  /** Milliseconds since 1970; `null`: none. Replaces the one before. */
  set(expiresAt: number | null): void;
}

export interface DeadlineOptions {
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** The token expires in so many seconds. */
  readonly onExpiring: (seconds: number) => void;
  readonly onExpired: () => void;
}

export function createDeadline({ runtime, onExpiring, onExpired }: DeadlineOptions): Deadline {
  const { clock, timers } = runtime;
  let cancel: Cancel | undefined;

  function wait(until: number, then: () => void): void {
    const leftMs = until - clock.now();
    cancel = timers.after(Math.min(Math.max(leftMs, 0), MAX_TIMER_MS), () => {
      if (until > clock.now()) {
        wait(until, then);
      } else {
        then();
      }
    });
  }

  return {
    set(expiresAt) {
      cancel?.();
      if (expiresAt === null) {
        return;
      }
      const leftMs = Math.max(0, expiresAt - clock.now());
      wait(expiresAt - Math.min(WARN_MS, leftMs / 2), () => {
        onExpiring(Math.max(0, Math.round((expiresAt - clock.now()) / 1_000)));
        wait(expiresAt, onExpired);
      });
    },
  };
}
