/** Work that the page waits for: under way, failed, or done. */
import { useEffect, useRef, useState } from 'preact/hooks';

export interface Task {
  readonly isRunning: boolean;
  readonly error: Error | undefined;
  /** Runs it, unless it is running. What it throws is shown. */
  run(work: (signal: AbortSignal) => Promise<void>): void;
  cancel(): void;
  clear(): void;
}

export function useTask(): Task {
  const [isRunning, setRunning] = useState(false);
  const [error, setError] = useState<Error | undefined>();
  const running = useRef<AbortController | undefined>(undefined);
  useEffect(
    () => () => {
      running.current?.abort();
    },
    [],
  );
  return {
    isRunning,
    error,
    run(work) {
      if (running.current !== undefined) {
        return;
      }
      const controller = new AbortController();
      running.current = controller;
      setRunning(true);
      setError(undefined);
      work(controller.signal)
        .catch((thrown: unknown) => {
          if (!controller.signal.aborted) {
            setError(thrown instanceof Error ? thrown : new Error(String(thrown)));
          }
        })
        .finally(() => {
          running.current = undefined;
          setRunning(false);
        });
    },
    cancel() {
      running.current?.abort();
    },
    clear() {
      setError(undefined);
    },
  };
}

/** Calls `work` now and again `everyMs` after it has ended, while `isOn`. */
export function usePolling(work: () => Promise<void>, everyMs: number, isOn: boolean): void {
  const latest = useRef(work);
  latest.current = work;
  useEffect(() => {
    if (!isOn) {
      return;
    }
    const stop = { isStopped: false };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const turn = (): void => {
      void latest.current().finally(() => {
        if (!stop.isStopped) {
          timer = setTimeout(turn, everyMs);
        }
      });
    };
    turn();
    return () => {
      stop.isStopped = true;
      clearTimeout(timer);
    };
  }, [isOn, everyMs]);
}
