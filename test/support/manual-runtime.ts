/** A runtime whose clock the test holds: timers fire only in `advance`, in the order of their times. */
import type { Cancel, Runtime } from '../../src/runtime.ts';

export interface ManualRuntime extends Runtime {
  /** Moves the clock, and fires each timer at its time. What waits for nothing else runs before the clock moves on. */
  advance(ms: number): Promise<void>;
  /** Timers that are waiting. */
  readonly pendingTimers: number;
}

interface Timer {
  readonly run: () => void;
  dueMs: number;
}

/** `random` draws the middle of every range, so that pauses are known. */
export function createManualRuntime(): ManualRuntime {
  const timers = new Set<Timer>();
  let nowMs = 0;
  let drawn = 0;

  function after(ms: number, run: () => void): Cancel {
    const timer = { dueMs: nowMs + ms, run };
    timers.add(timer);
    return () => {
      timers.delete(timer);
    };
  }

  async function settle(): Promise<void> {
    // A turn of the real event loop: streams and responses of `fetch` need it.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }

  return {
    clock: { now: () => nowMs, steady: () => nowMs },
    timers: {
      after,
      every(ms, run) {
        const timer = {
          dueMs: nowMs + ms,
          run() {
            timer.dueMs += ms;
            timers.add(timer);
            run();
          },
        };
        timers.add(timer);
        return () => {
          timers.delete(timer);
        };
      },
      soon(run) {
        after(0, run);
      },
    },
    random: {
      bytes: (count) => new Uint8Array(count),
      uuid: () => `00000000-0000-4000-8000-${String((drawn += 1)).padStart(12, '0')}`,
      fraction: () => 0.5,
    },
    async advance(ms) {
      const endMs = nowMs + ms;
      for (;;) {
        await settle();
        const [next] = [...timers].sort((a, b) => a.dueMs - b.dueMs);
        if (next === undefined || next.dueMs > endMs) {
          break;
        }
        nowMs = Math.max(nowMs, next.dueMs);
        timers.delete(next);
        next.run();
      }
      nowMs = endMs;
    },
    get pendingTimers() {
      return timers.size;
    },
  };
}
