/** Draws the two halves of a tag: a term for each run of a process, and a number for each commit. */
import { TERMS } from '../log/place.ts';
import type { Random } from '../runtime.ts';

/** A number of 32 bits. */
export function drawCommit(random: Pick<Random, 'bytes'>): number {
  const [a = 0, b = 0, c = 0, d = 0] = random.bytes(4);
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** A term, which the log may have already: the caller draws again then. */
export function drawTerm(random: Pick<Random, 'bytes'>): number {
  return 1 + (drawCommit(random) % (TERMS - 1));
}
