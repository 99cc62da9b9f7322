/**
 * Time and chance as ports. Whatever reads a clock, waits, or draws a random number gets them from here, so that a whole
 * history can be replayed from a seed. `system-runtime.ts` has the real ones, which a composition root hands down: the
 * server, each thread and process, each command, each SDK object.
 */

export interface Clock {
  /** Wall clock, milliseconds since 1970. It may jump. */
  now(): number;
  /** Milliseconds of a clock that never goes back, from an arbitrary start: for durations. */
  steady(): number;
}

/** Cancels a timer. Calling it again, or after the timer has fired, does nothing. */
export type Cancel = () => void;

export interface TimerOptions {
  /** A background timer does not keep the process running. Default false. */
  readonly isBackground?: boolean;
}

export interface Timers {
  /** Runs once after `ms` (at most `MAX_TIMER_MS`). */
  after(ms: number, run: () => void, options?: TimerOptions): Cancel;
  /** Runs every `ms`. */
  every(ms: number, run: () => void, options?: TimerOptions): Cancel;
  /** Runs after the current turn of the event loop. */
  soon(run: () => void): void;
}

export interface Random {
  /** Cryptographically strong: secrets, keys and tickets are made of them. */
  bytes(count: number): Uint8Array;
  /** A UUID of version 4 (RFC 9562). */
  uuid(): string;
  /** From 0 up to, but not including, 1. */
  fraction(): number;
}

export interface Runtime {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
}

/** The longest delay of a timer: 2^31 - 1 milliseconds, some 24 days. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms`, or as soon as `signal` aborts. Never rejects. */
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
 * Settles as `work` does, or rejects with `onTimeout()` after `ms`. The work itself goes on: its late outcome is
 * ignored.
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
