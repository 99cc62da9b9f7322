/** The real clock, timers and random numbers, for Node and for browsers. The only file that touches them. */
import {
  type Cancel,
  MAX_TIMER_MS,
  type Random,
  type Runtime,
  type TimerOptions,
  type Timers,
} from './runtime.ts';

/** Browsers do not have it. */
const { setImmediate: immediate } = globalThis as { readonly setImmediate?: (run: () => void) => void };

const timers: Timers = {
  after(ms, run, options) {
    const timer = setTimeout(run, Math.min(ms, MAX_TIMER_MS));
    detach(timer, options);
    return () => {
      clearTimeout(timer);
    };
  },
  every(ms, run, options): Cancel {
    const timer = setInterval(run, ms);
    detach(timer, options);
    return () => {
      clearInterval(timer);
    };
  },
  soon(run) {
    if (immediate === undefined) {
      setTimeout(run, 0);
    } else {
      immediate(run);
    }
  },
};

/** In browsers a timer is a number, and keeps nothing open. */
function detach(timer: number | { unref(): unknown }, options: TimerOptions | undefined): void {
  if (options?.isBackground === true && typeof timer === 'object') {
    timer.unref();
  }
}

const random: Random = {
  bytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
  uuid() {
    // `crypto.randomUUID` is missing on pages that were not served over HTTPS.
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  },
  fraction: () => Math.random(),
};

export const systemRuntime: Runtime = {
  clock: { now: () => Date.now(), steady: () => performance.now() },
  timers,
  random,
};
