/** Draws the two halves of a tag: a term for each run of a process, and a number for each commit. */
import { TERMS } from '../log/place.ts';
import type { Random } from '../runtime.ts';

/** Numbers that are drawn at once: one call takes 10 µs, whatever its size. */
const DRAWS = 256;

/** Returns a function that draws a number of 32 bits. */
export function createDraws(random: Pick<Random, 'bytes'>): () => number {
  let numbers = new Uint32Array(0);
  let next = 0;
  return () => {
    if (next === numbers.length) {
      numbers = new Uint32Array(new Uint8Array(random.bytes(4 * DRAWS)).buffer);
      next = 0;
    }
    const number = numbers[next] ?? 0;
    next += 1;
    return number;
  };
}

/** A term, which the log may have already: the caller draws again then. */
export function drawTerm(draw: () => number): number {
  return 1 + (draw() % (TERMS - 1));
}
