/** Sends heartbeats, and closes a peer that answers no pings or accepts no bytes. */
import type { Connection } from './connection.ts';

/** Number of unanswered pings after which the connection is closed. */
const MAX_MISSED_PONGS = 2;

export interface HealthCheck {
  /** Records a sign of life of the peer. */
  markAlive(): void;
  /** Closes a dead or stalled peer, or sends the heartbeat and a ping. */
  check(now: number): void;
}

export interface HealthCheckOptions {
  readonly connection: Connection;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** A peer that accepts no bytes for this time is closed. */
  readonly stallTimeoutMs: number;
  /** Returns the heartbeat frame, if the protocol has one. */
  readonly heartbeat: () => Uint8Array | undefined;
}

export function createHealthCheck(options: HealthCheckOptions): HealthCheck {
  const { connection } = options;
  let missedPongs = 0;
  let flushedAtProgress = 0;
  let progressAt = options.startedAt;
  return {
    markAlive() {
      missedPongs = 0;
    },
    check(now) {
      const flushed = connection.flushedBytes;
      if (connection.bufferedBytes === 0 || flushed !== flushedAtProgress) {
        flushedAtProgress = flushed;
        progressAt = now;
      }
      if (connection.bufferedBytes > 0) {
        // A ping behind unread data gets no answer: what counts is whether the peer accepts bytes.
        if (now - progressAt >= options.stallTimeoutMs) {
          connection.close('stalled');
        }
        return;
      }
      if (connection.canPong && missedPongs >= MAX_MISSED_PONGS) {
        connection.close('no-pong');
        return;
      }
      missedPongs += 1;
      const frame = options.heartbeat();
      if (frame !== undefined) {
        connection.write(frame);
      }
      connection.ping();
    },
  };
}
