/** Waiting for a condition. A machine that is busy makes it take longer, and never makes it fail. */
import { setTimeout as sleep } from 'node:timers/promises';

/** What has not come about by then never will. */
export const PATIENCE_MS = 60_000;
const PAUSE_MS = 10;

/**
 * Resolves when `holds` returns true. `what` completes the sentence “waited for …”; a function can say how far it came.
 * @throws Error that names what was waited for, after 60 s
 */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string),
): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) {
      throw new Error(
        `waited ${PATIENCE_MS / 1_000} s in vain for ${typeof what === 'string' ? what : what()}`,
      );
    }
    await sleep(PAUSE_MS);
  }
}
