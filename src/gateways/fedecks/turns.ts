/**
 * One thing after the other on one socket, which is not read while something waits or while its peer takes nothing. After
 * a close nothing more is begun.
 */
import type { WebSocket } from 'ws';
import type { Connection } from '../../delivery/connection.ts';
import { HIGH_WATER_BYTES } from '../../delivery/session.ts';

export interface Turns {
  take(work: () => unknown): void;
  /** True while the socket is not read. */
  readonly isBusy: boolean;
}

export interface TurnsOptions {
  readonly socket: WebSocket;
  readonly connection: Connection;
  /** Aborted when the socket is gone. */
  readonly signal: AbortSignal;
  readonly onFault: (error: unknown) => void;
}

export function createTurns({ socket, connection, signal, onFault }: TurnsOptions): Turns {
  let waiting = 0;
  let last: Promise<void> = Promise.resolve();
  let onRoom: () => void = () => undefined;
  const isOpen = (): boolean => socket.readyState === socket.OPEN;

  connection.onDrain(() => {
    onRoom();
  });
  signal.addEventListener('abort', () => {
    onRoom();
  });

  function breathe(): void {
    // A socket that closes is read: for the peer's own close.
    if (isOpen() && waiting > 0) {
      socket.pause();
    } else {
      socket.resume();
    }
  }

  /** A peer that never takes anything is closed as stalled at the hub's beat. */
  async function room(): Promise<void> {
    if (!isOpen() || connection.bufferedBytes < HIGH_WATER_BYTES) {
      return;
    }
    await new Promise<void>((resolve) => {
      onRoom = resolve;
      if (signal.aborted) {
        resolve();
      }
    });
  }

  async function turn(work: () => unknown): Promise<void> {
    try {
      await room();
      if (isOpen()) {
        await work();
      }
    } catch (error) {
      onFault(error);
    }
    waiting -= 1;
    breathe();
  }

  return {
    take(work) {
      waiting += 1;
      breathe();
      last = last.then(() => turn(work));
    },
    get isBusy() {
      return waiting > 0;
    },
  };
}
