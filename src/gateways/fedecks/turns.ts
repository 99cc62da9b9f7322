/**
 * One thing after the other on one socket, which is not read while something waits or while its peer takes nothing. After
 * a close nothing more is begun.
 */
import type { WebSocket } from 'ws';
import type { Connection } from '../../delivery/connection.ts';
import { HIGH_WATER_BYTES } from '../../delivery/session.ts';

export interface Turns {
  take(work: () => unknown): void;
  /** Stops reading until the peer has taken what was written, if that is much. */
  yieldToWire(): void;
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
  let isWireFull = false;
  let last: Promise<void> = Promise.resolve();
  let onRoom: () => void = () => undefined;
  const isOpen = (): boolean => socket.readyState === socket.OPEN;

  connection.onDrain(() => {
    isWireFull = false;
    onRoom();
    breathe();
  });
  signal.addEventListener('abort', () => {
    onRoom();
  });

  function yieldToWire(): void {
    isWireFull = connection.bufferedBytes >= HIGH_WATER_BYTES;
    breathe();
  }

  function breathe(): void {
    // A socket that closes is read: for the peer's own close.
    if (isOpen() && (waiting > 0 || isWireFull)) socket.pause();
    else socket.resume();
  }

  /** A peer that never takes anything is closed as stalled at the hub's beat. */
  async function room(): Promise<void> {
    if (!isOpen() || connection.bufferedBytes < HIGH_WATER_BYTES) return;
    await new Promise<void>((resolve) => {
      onRoom = resolve;
      if (signal.aborted) resolve();
    });
  }

  async function turn(work: () => unknown): Promise<void> {
    try {
      await room();
      if (isOpen()) await work();
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
    yieldToWire,
    get isBusy() {
      return waiting > 0 || isWireFull;
    },
  };
}
