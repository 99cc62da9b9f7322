/** A line on the terminal that shows the progress of a long command. Without a terminal it shows nothing. */
import type { Clock } from '../../runtime.ts';

const EVERY_MS = 200;

export interface Progress {
  /** `share` is the part that is done, from 0 to 1, if the total is known. */
  show(count: number, share?: number): void;
  /** Clears the line. */
  end(): void;
}

/** `verb` says what happens to the events, such as "exported". */
export function createProgress(verb: string, clock: Pick<Clock, 'steady'>): Progress {
  const startedAt = clock.steady();
  let shownAt = Number.NEGATIVE_INFINITY;
  const isTerminal = process.stderr.isTTY;
  return {
    show(count, share) {
      const now = clock.steady();
      if (!isTerminal || now - shownAt < EVERY_MS) {
        return;
      }
      shownAt = now;
      const perSecond = Math.round(count / Math.max(0.001, (now - startedAt) / 1_000));
      const percent = share === undefined ? '' : ` (${Math.floor(100 * share)} %)`;
      process.stderr.write(`\r\x1b[K${count} events ${verb}${percent}, ${perSecond} events/s`);
    },
    end() {
      if (isTerminal) {
        process.stderr.write('\r\x1b[K');
      }
    },
  };
}
