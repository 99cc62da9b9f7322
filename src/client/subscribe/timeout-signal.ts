/** An end to what may hang: a signal that is given when the outer one is, or when nothing has happened for too long. */

export interface TimeoutSignal {
  readonly signal: AbortSignal;
  /** Something has happened: the time begins again. */
  restart(): void;
  /** No time runs until the next `restart`. */
  pause(): void;
  /** Gives the signal now. */
  abort(): void;
  /** Lets go of the timer and of the outer signal. */
  dispose(): void;
}

/** `AbortSignal.any` would do, but on a signal that outlives many requests it keeps something of each. */
export function createTimeoutSignal(parent: AbortSignal, ms?: number): TimeoutSignal {
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
    parent.removeEventListener('abort', abort);
  }
  parent.addEventListener('abort', abort);
  if (parent.aborted) {
    abort();
  } else {
    restart();
  }
  return { signal: controller.signal, restart, pause: hold, abort, dispose: stop };
}
