/** The port between the delivery of events and a wire. */

/** Why the service ends a connection; what it becomes on the wire is decided at the edge. */
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

/** One wire to one client. Nothing here throws: a wire that is gone swallows what it is given (G8). */
export interface Connection {
  /** Name of the protocol room, for the operator. */
  readonly gateway: string;
  /** Sends bytes that are ready for the wire, in order. */
  write(frame: Uint8Array): void;
  /** Bytes written and not yet taken by the network. */
  readonly bufferedBytes: number;
  /** Bytes the network has taken since the start. */
  readonly flushedBytes: number;
  /** Calls `listener` each time the buffer has emptied after it was full. */
  onDrain(listener: () => void): void;
  /** Asks the peer for a sign of life, if the protocol can. */
  ping(): void;
  /** True if the peer answers pings. */
  readonly canPong: boolean;
  close(reason: CloseReason): void;
}
