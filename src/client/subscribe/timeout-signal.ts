/** An end to what may hang: a signal that is given when the outer one is, or when nothing has happened for too long. */

export interface Watch {
  readonly signal: AbortSignal;
  /** Something has happened: the time begins again. */
  restart(): void;
  /** No time runs until the next `restart`. */
  hold(): void;
  /** Gives the signal now. */
  abort(): void;
  /** Lets go of the timer and of the outer signal. */
  stop(): void;
}

/** `AbortSignal.any` would do, but on a signal that outlives many requests it keeps something of each. */
export function createWatch(outer: AbortSignal, ms?: number): Watch {
  const controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const abort = (): void => {
    stop();
    controller.abort();
  };
  function restart(): void {
    hold();
    if (ms !== undefined && !controller.signal.aborted) {
      timer = setTimeout(abort, ms);
    }
  }
  function hold(): void {
    clearTimeout(timer);
  }
  function stop(): void {
    hold();
    outer.removeEventListener('abort', abort);
  }
  outer.addEventListener('abort', abort);
  if (outer.aborted) {
    abort();
  } else {
    restart();
  }
  return { signal: controller.signal, restart, hold, abort, stop };
}
