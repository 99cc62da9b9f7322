/**
 * Ports for time and randomness. Code that reads a clock, waits or draws a random number uses these ports, so
 * that a test can replay a run from a seed. `system-runtime.ts` implements them for production. Each
 * composition root passes them down: the server, each thread and process, each command, each SDK object.
 */

/** Reads time. */
export interface Clock {
  /** Wall-clock time in milliseconds since 1970. It can jump forwards and backwards. */
  now(): number;
  /** Monotonic time in milliseconds from an arbitrary start. Use it for durations. */
  steady(): number;
}

/** Cancels a timer. A repeated call, or a call after the timer has fired, does nothing. */
export type Cancel = () => void;

/** Options of a timer. */
export interface TimerOptions {
  /** If true, the timer does not keep the process running. Default false. */
  readonly isBackground?: boolean;
}

/** Schedules work. */
export interface Timers {
  /** Calls `run` once after `ms` milliseconds. The maximum is `MAX_TIMER_MS`. */
  after(ms: number, run: () => void, options?: TimerOptions): Cancel;
  /** Calls `run` every `ms` milliseconds. */
  every(ms: number, run: () => void, options?: TimerOptions): Cancel;
  /** Calls `run` after the current turn of the event loop. */
  soon(run: () => void): void;
}

/** Draws random values. */
export interface Random {
  /** Cryptographically strong bytes, for secrets, keys and tickets. */
  bytes(count: number): Uint8Array;
  /** A UUID of version 4 (RFC 9562). */
  uuid(): string;
  /** A number from 0 (inclusive) to 1 (exclusive). */
  fraction(): number;
}

/** Time and randomness together. */
export interface Runtime {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
}

/** The maximum delay of a timer: 2^31 - 1 ms, about 24 days. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms` milliseconds, or when `signal` aborts. It does not reject. */
export function sleep(timers: Timers, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const finish = (): void => {
      cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = timers.after(ms, finish);
    signal?.addEventListener('abort', finish);
  });
}

/** Resolves after the current turn of the event loop. */
export function nextTurn(timers: Timers): Promise<void> {
  return new Promise((resolve) => {
    timers.soon(resolve);
  });
}

/**
 * Settles as `work` does, or rejects with `onTimeout()` after `ms` milliseconds. The work continues after a
 * timeout, and its outcome is ignored.
 */
export function withTimeout<T>(
  work: Promise<T>,
  {
    timers,
    ms,
    onTimeout,
  }: { readonly timers: Timers; readonly ms: number; readonly onTimeout: () => Error },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = timers.after(ms, () => {
      reject(onTimeout());
    });
    work.then(resolve, reject).finally(cancel);
  });
}
