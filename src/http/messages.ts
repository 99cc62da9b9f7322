/**
 * Bounds the messages that arrive on a WebSocket. `ws` keeps the parts of a message until its end. Here the parts take
 * bytes of the budget of bodies, and a message has a time limit like the body of a request (G7).
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { ByteBudget, Reservation } from '../delivery/byte-budget.ts';
import type { Cancel, Timers } from '../runtime.ts';

/** The messages of one socket. */
export interface Messages {
  /** The messages that have arrived are handled: their bytes are free again. */
  release(): void;
  /** True after a message has exceeded a limit. The socket is not read any more. */
  readonly isEnded: boolean;
}

/** The socket, its budget and its time limit. */
export interface MessagesOptions {
  readonly socket: WebSocket;
  /** The connection under the socket. */
  readonly wire: Socket;
  readonly budget: ByteBudget;
  /** A token subject or an address: the owner of the bytes. */
  readonly owner: string;
  /** A message that has not arrived completely after this time closes the socket. */
  readonly timeoutMs: number;
  readonly timers: Timers;
  /** Closes the socket. It is not read meanwhile. */
  readonly close: (reason: 'too-many' | 'stalled') => void;
}

/** Shorter messages need no reservation and have no time limit: most messages have some hundred bytes. */
const FREE_BYTES = 16 * 1024;

/** `ws` keeps one object for each read of the network until the message or the frame ends. */
const CHUNK_BYTES = 256;

/** Bytes of the head of a control frame from a client (RFC 6455 §5.2). */
const CONTROL_HEAD_BYTES = 6;

/** Counts the bytes of each message of a socket. */
export function boundMessages(options: MessagesOptions): Messages {
  const { socket, wire, budget, owner, timeoutMs, timers, close } = options;
  /** Bytes since the end of the last message. */
  let bytes = 0;
  /** Bytes of the last read of the network that are not control frames. */
  let messageBytesOfRead = 0;
  let reservation: Reservation | undefined;
  let cancelTimeout: Cancel | undefined;
  let isEnded = false;

  function release(): void {
    if (bytes <= FREE_BYTES) {
      reservation?.release();
      reservation = undefined;
    }
  }

  function end(reason: 'too-many' | 'stalled'): void {
    isEnded = true;
    close(reason);
    // The parts that `ws` has stay in memory until the socket closes. Further ones must not arrive.
    socket.pause();
  }

  /** Reserves the bytes of the message. Returns false if they do not fit. */
  function reserve(): boolean {
    if (reservation !== undefined) {
      const missing = bytes - reservation.bytes;
      return missing <= 0 || reservation.grow(missing);
    }
    reservation = budget.reserve({ owner, bytes });
    return reservation !== undefined;
  }

  // `ws` emits the message while it handles the same bytes, so they are counted before.
  wire.prependListener('data', (chunk: Buffer) => {
    release();
    messageBytesOfRead = chunk.length;
    bytes += chunk.length + CHUNK_BYTES;
    if (bytes <= FREE_BYTES || socket.readyState !== socket.OPEN) {
      return;
    }
    cancelTimeout ??= timers.after(timeoutMs, () => {
      end('stalled');
    });
    if (!reserve()) {
      end('too-many');
    }
  });
  socket.on('message', () => {
    bytes = 0;
    cancelTimeout?.();
    cancelTimeout = undefined;
  });
  for (const type of ['ping', 'pong'] as const) {
    socket.on(type, (data) => {
      const frameBytes = Math.min(data.length + CONTROL_HEAD_BYTES, messageBytesOfRead);
      messageBytesOfRead -= frameBytes;
      // `ws` keeps nothing of a read that has only control frames.
      bytes = Math.max(0, bytes - frameBytes - (messageBytesOfRead === 0 ? CHUNK_BYTES : 0));
    });
  }
  socket.on('close', () => {
    cancelTimeout?.();
    reservation?.release();
  });
  return {
    release,
    get isEnded() {
      return isEnded;
    },
  };
}
