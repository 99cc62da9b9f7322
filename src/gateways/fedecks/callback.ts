/** Callbacks of applications: what they return may be anything, and they may never return. */
import { type Timers, withTimeout } from '../../runtime.ts';

/** The result of a callback. @throws Error when it takes longer; it goes on, and nobody waits for it */
export async function boundCallback<T>(timers: Timers, ms: number, work: T | Promise<T>): Promise<T> {
  if (typeof work !== 'object' || work === null || !('then' in work)) {
    return work;
  }
  return withTimeout(Promise.resolve(work), {
    timers,
    ms,
    onTimeout: () => new Error(`a device callback took longer than ${ms} ms`),
  });
}
