/** An abort signal with a deadline that can start again, for work that must not hang. */
import type { Timers } from '../runtime.ts';

export interface TimeoutSignal {
  readonly signal: AbortSignal;
  /** Starts the deadline again. */
  restart(): void;
  /** Stops the deadline until the next `restart`. */
  pause(): void;
  /** Aborts the signal now. */
  abort(): void;
  /** Stops the deadline and lets go of the parent signal. The signal stays as it is. */
  dispose(): void;
}

export interface TimeoutSignalOptions {
  readonly timers: Timers;
  /** The signal aborts after this many milliseconds without a `restart`. Default: no deadline. */
  readonly ms?: number;
  /** The signal aborts when the parent aborts. */
  readonly parent?: AbortSignal;
}

/** `AbortSignal.any` does not serve: a parent that outlives many requests keeps a part of each in memory. */
export function createTimeoutSignal({ timers, ms, parent }: TimeoutSignalOptions): TimeoutSignal {
  const controller = new AbortController();
  let pause = (): void => undefined;
  const abort = (): void => {
    dispose();
    controller.abort();
  };
  function restart(): void {
    pause();
    if (ms !== undefined && !controller.signal.aborted) {
      pause = timers.after(ms, abort);
    }
  }
  function dispose(): void {
    pause();
    parent?.removeEventListener('abort', abort);
  }
  parent?.addEventListener('abort', abort);
  if (parent?.aborted === true) {
    abort();
  } else {
    restart();
  }
  return {
    signal: controller.signal,
    restart,
    pause: () => {
      pause();
    },
    abort,
    dispose,
  };
}
