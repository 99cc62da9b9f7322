/** One accepted WebSocket as the parts of delivery see it: its reading side, and its wire. */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { type CloseReason, type Connection, HIGH_WATER_BYTES } from '../delivery/connection.ts';
import type { Inbox } from '../delivery/turns.ts';
import type { Timers } from '../runtime.ts';
import type { Messages } from './messages.ts';

/** The server terminates a socket whose peer does not answer a close within this time. */
const CLOSE_TIMEOUT_MS = 5_000;

/** `readyState` of an open socket. */
const OPEN = 1;

/** The close codes of a protocol. */
export type CloseCodes = Readonly<Record<CloseReason, readonly [code: number, text: string]>>;

/** The reading side of a socket. */
export function inboxOf(socket: WebSocket, messages: Messages): Inbox {
  const closed = new AbortController();
  socket.once('close', () => {
    closed.abort();
  });
  return {
    get isOpen() {
      return socket.readyState === OPEN;
    },
    pause() {
      socket.pause();
    },
    resume() {
      messages.release();
      if (!messages.isEnded) {
        socket.resume();
      }
    },
    signal: closed.signal,
  };
}

/** What a connection needs beside its socket. */
interface ConnectionOptions {
  readonly gateway: string;
  readonly closeCodes: CloseCodes;
  readonly timers: Timers;
}

/** The writing side of a socket. */
export function socketConnection(
  socket: WebSocket,
  wire: Socket,
  { gateway, closeCodes, timers }: ConnectionOptions,
): Connection {
  /** False after a write that has filled the buffer of the stream, which is smaller than `HIGH_WATER_BYTES`. */
  let isFlowing = true;
  return {
    gateway,
    canPong: true,
    // Frames arrive encoded and are written to the TCP socket beside the frames of `ws`. Without compression
    // `ws` queues no frames.
    write(frame) {
      if (socket.readyState === OPEN) {
        isFlowing = wire.write(frame);
      }
    },
    get bufferedBytes() {
      return wire.writableLength;
    },
    get isFull() {
      return !isFlowing && wire.writableLength >= HIGH_WATER_BYTES;
    },
    get flushedBytes() {
      return wire.bytesWritten - wire.writableLength;
    },
    onDrain(listener) {
      wire.on('drain', listener);
    },
    ping() {
      if (socket.readyState === OPEN) {
        socket.ping();
      }
    },
    close(reason) {
      closeSocket(socket, closeCodes[reason], timers);
    },
  };
}

/** Closes a socket with a code, and terminates it if its peer does not answer. */
export function closeSocket(
  socket: WebSocket,
  [code, text]: readonly [code: number, text: string],
  timers: Timers,
): void {
  if (socket.readyState !== OPEN) {
    return;
  }
  socket.close(code, text);
  const cancel = timers.after(CLOSE_TIMEOUT_MS, () => {
    socket.terminate();
  });
  socket.once('close', cancel);
}
