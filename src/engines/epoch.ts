/** The epoch of a log: eight characters of base 36, about 41 bits. A log gets a new one when it is made, restored or imported. */
import type { Random } from '../runtime.ts';

export function newEpoch(random: Pick<Random, 'bytes'>): string {
  return Array.from(random.bytes(8), (byte) => (byte % 36).toString(36)).join('');
}
