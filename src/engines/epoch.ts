/** The epoch of a log: eight characters of base 36, about 41 bits. A log gets a new one when it is made, restored or imported. */
import { randomBytes } from 'node:crypto';

export function newEpoch(): string {
  return Array.from(randomBytes(8), (byte) => (byte % 36).toString(36)).join('');
}
