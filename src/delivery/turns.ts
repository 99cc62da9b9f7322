/**
 * The serial inbox of a socket: it processes one message at a time, in order of arrival. It pauses the socket
 * while a message waits and while the peer accepts no bytes. The queue is therefore bounded by one read of
 * the network. Between two messages of a socket every other connection gets its turn, however small and many
 * the messages are (G7, G8). After a close it starts no further message.
 */
import { nextTurn, type Timers } from '../runtime.ts';
import type { Connection } from './connection.ts';

/** The reading side of a socket. */
export interface Inbox {
  readonly isOpen: boolean;
  pause(): void;
  resume(): void;
  /** Aborts when the socket has closed. */
  readonly signal: AbortSignal;
}

/** A serial queue of work. */
export interface Turns {
  /** Runs `work` after the work that was enqueued earlier. Errors go to `onFault`. */
  enqueue(work: () => unknown): void;
  /** True while the socket is paused. */
  readonly isBusy: boolean;
}

/** The socket and the error handler. */
export interface TurnsOptions {
  readonly inbox: Inbox;
  readonly connection: Connection;
  readonly timers: Timers;
  /** Receives an error that the work does not handle. */
  readonly onFault: (error: unknown) => void;
}

/**
 * Creates the inbox of a socket. Create it before the session: both wait for the drain of the buffer, and the
 * session fills the buffer again.
 */
export function createTurns({ inbox, connection, timers, onFault }: TurnsOptions): Turns {
  let pending = 0;
  let tail: Promise<void> = Promise.resolve();
  let release: () => void = () => undefined;

  connection.onDrain(() => {
    release();
  });
  inbox.signal.addEventListener('abort', () => {
    release();
  });

  function updateReading(): void {
    // A closing socket is read, so that the close frame of the peer arrives.
    if (inbox.isOpen && pending > 0) {
      inbox.pause();
    } else {
      inbox.resume();
    }
  }

  /** Waits until the peer has accepted the buffered bytes. The hub closes a peer that accepts none. */
  async function untilDrained(): Promise<void> {
    if (!inbox.isOpen || !connection.isFull) {
      return;
    }
    await new Promise<void>((resolve) => {
      release = resolve;
      if (inbox.signal.aborted) {
        resolve();
      }
    });
  }

  async function run(work: () => unknown): Promise<void> {
    try {
      await untilDrained();
      if (inbox.isOpen) {
        await work();
      }
    } catch (error) {
      onFault(error);
    }
    pending -= 1;
    if (pending > 0) {
      await nextTurn(timers);
    }
    updateReading();
  }

  return {
    enqueue(work) {
      pending += 1;
      updateReading();
      tail = tail.then(() => run(work));
    },
    get isBusy() {
      return pending > 0;
    },
  };
}
