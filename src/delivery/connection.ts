/** The port between event delivery and a wire. */

/** Why the server closes a connection. The HTTP room maps each reason to a close code. */
export type CloseReason =
  | 'dropped'
  | 'going-away'
  | 'restarting'
  | 'bad-first-message'
  | 'cursor-refused'
  | 'not-allowed'
  | 'no-pong'
  | 'stalled'
  | 'token-expired'
  | 'token-revoked'
  | 'too-many'
  | 'fault';

/** Above this number of buffered bytes a connection is full. The last frame may exceed the mark. */
export const HIGH_WATER_BYTES = 256 * 1024;

/** The wire to one client. Its methods do not throw: after a disconnect, a write has no effect (G8). */
export interface Connection {
  /** Name of the gateway. */
  readonly gateway: string;
  /** Sends an encoded frame, in call order. */
  write(frame: Uint8Array): void;
  /** Bytes that were written and that the network has not accepted. */
  readonly bufferedBytes: number;
  /** True while `HIGH_WATER_BYTES` or more are buffered. It is asked before each frame. */
  readonly isFull: boolean;
  /** Bytes that the network has accepted since the connection opened. */
  readonly flushedBytes: number;
  /** Calls `listener` each time a full buffer becomes empty. */
  onDrain(listener: () => void): void;
  /** Sends a ping, if the protocol has pings. */
  ping(): void;
  /** True if the peer answers pings with pongs. */
  readonly canPong: boolean;
  close(reason: CloseReason): void;
}
