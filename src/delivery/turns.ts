/**
 * The serial inbox of a socket: one message after the other, in the order of their arrival. The socket is not read while
 * a message waits, nor while its peer takes nothing of what was written to it, so that what waits is bounded by what one
 * read of the network brings (G7, G8). After a close nothing more is begun.
 */
import type { Connection } from './connection.ts';
import { HIGH_WATER_BYTES } from './session.ts';

/** The reading side of a socket. */
export interface Inbox {
  readonly isOpen: boolean;
  pause(): void;
  resume(): void;
  /** Aborted when the socket is gone. */
  readonly signal: AbortSignal;
}

export interface Turns {
  /** Does the work in its turn. What it throws goes to `onFault`. */
  enqueue(work: () => unknown): void;
  /** True while the socket is not read. */
  readonly isBusy: boolean;
}

export interface TurnsOptions {
  readonly inbox: Inbox;
  readonly connection: Connection;
  /** The work has failed in a way that it does not answer itself. */
  readonly onFault: (error: unknown) => void;
}

/** Create it before the session of the connection: the session, when it may write again, fills the buffer again. */
export function createTurns({ inbox, connection, onFault }: TurnsOptions): Turns {
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
    // A socket that closes is read: for the peer's own close.
    if (inbox.isOpen && pending > 0) {
      inbox.pause();
    } else {
      inbox.resume();
    }
  }

  /** Waits until the peer has taken what waits for it. The hub closes a peer that never does. */
  async function untilDrained(): Promise<void> {
    if (!inbox.isOpen || connection.bufferedBytes < HIGH_WATER_BYTES) {
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
