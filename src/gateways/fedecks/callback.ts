/**
 * Runs callbacks of applications with a timeout. A callback can return any value, and may not return at all.
 */
import { type Timers, withTimeout } from '../../runtime.ts';

/**
 * Returns the result of a callback.
 * @throws Error after `ms` milliseconds. The callback continues, and its result is ignored
 */
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
