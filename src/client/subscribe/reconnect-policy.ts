/** Which transport a subscription uses next, and how long it waits before it reconnects. */
import { backoffMs, NETWORK_BACKOFF } from '../../backoff.ts';
import type { Random } from '../../runtime.ts';
import type { ConnectionLost, TransportName } from './transport.ts';

/** A connection that lasted longer was stable: the next pause is short again. */
const STABLE_MS = 10_000;

/** Failures in a row to open a connection, after which the next transport is tried. */
const MAX_FAILURES = 2;

export interface ReconnectPolicy {
  readonly transport: TransportName;
  /** Counts the loss of a connection that began `lastedMs` ago. Returns the milliseconds to wait. */
  pauseAfter(loss: ConnectionLost, lastedMs: number): number;
}

/** `transports` in the order in which they are tried. */
export function createReconnectPolicy(
  transports: readonly TransportName[],
  random: Pick<Random, 'fraction'>,
): ReconnectPolicy {
  let index = 0;
  let attempt = 0;
  let failures = 0;
  return {
    get transport() {
      return transports[index % transports.length] ?? 'poll';
    },
    pauseAfter(loss, lastedMs) {
      if (lastedMs > STABLE_MS && loss.wasOpen) {
        attempt = 0;
      }
      attempt += 1;
      failures = loss.wasOpen ? 0 : failures + 1;
      if (failures >= MAX_FAILURES) {
        failures = 0;
        index += 1;
      }
      return backoffMs(attempt, { ...NETWORK_BACKOFF, random, atLeastMs: loss.retryAfterSeconds * 1_000 });
    },
  };
}
