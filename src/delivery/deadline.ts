/** Warns before the token of a connection expires, then ends the connection. */
import { type Cancel, MAX_TIMER_MS, type Runtime } from '../runtime.ts';

/** The warning comes a minute before the token expires, or at half of the remaining time when that is later. */
const MAX_WARNING_MS = 60_000;

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

  function runAt(time: number, run: () => void): void {
    const leftMs = time - clock.now();
    cancel = timers.after(Math.min(Math.max(leftMs, 0), MAX_TIMER_MS), () => {
      if (time > clock.now()) {
        runAt(time, run);
      } else {
        run();
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
      runAt(expiresAt - Math.min(MAX_WARNING_MS, leftMs / 2), () => {
        onExpiring(Math.max(0, Math.round((expiresAt - clock.now()) / 1_000)));
        runAt(expiresAt, onExpired);
      });
    },
  };
}
