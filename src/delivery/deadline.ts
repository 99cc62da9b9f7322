/** Warns before a connection's token expires, then closes the connection. */
import { type Cancel, MAX_TIMER_MS, type Runtime } from '../runtime.ts';

/** The warning precedes the expiry by 60 s, or by half of the remaining time if that is shorter. */
const MAX_WARNING_MS = 60_000;

/** The expiry of one connection. */
export interface Deadline {
  /** Sets the expiry in milliseconds since 1970; `null`: no expiry. It replaces the previous one. */
  set(expiresAt: number | null): void;
}

/** The clock and the listeners of a deadline. */
export interface DeadlineOptions {
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** Called once with the seconds until the expiry. */
  readonly onExpiring: (seconds: number) => void;
  /** Called when the token expires. */
  readonly onExpired: () => void;
}

/** Creates a deadline without an expiry. */
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
