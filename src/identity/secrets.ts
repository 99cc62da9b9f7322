/** Random secrets, their hashes, and a comparison in constant time. */
import { hash, timingSafeEqual } from 'node:crypto';
import type { Random } from '../runtime.ts';

/** 256 random bits. Nobody can guess them, so their hash need not be slow. */
export function newSecret(random: Pick<Random, 'bytes'>, prefix = ''): string {
  return prefix + Buffer.from(random.bytes(32)).toString('base64url');
}

/** SHA-256 in hexadecimal. */
export function secretHash(secret: string): string {
  return hash('sha256', secret, 'hex');
}

/** Whether `secret` has this hash, in constant time. */
export function hasHash(secret: string, expected: string): boolean {
  const actual = hash('sha256', secret, 'buffer');
  const wanted = Buffer.from(expected, 'hex');
  return wanted.length === actual.length && timingSafeEqual(actual, wanted);
}
