/**
 * The reads of one connection, over all its subscriptions: one page at a time, and none while the buffer of the
 * connection is full. A connection therefore holds at most a full buffer and one page, however many subscriptions it
 * has (G7). The subscriptions take turns, a page each.
 */
import type { LogEvent } from '../log/event.ts';
import type { Subscription } from '../log/subscription.ts';
import type { Connection } from './connection.ts';

/** A subscription that takes part. */
export interface Reader {
  readonly subscription: Subscription;
  /** False after the subscription or the connection has ended. */
  readonly isOpen: boolean;
}

/** The reads of a connection. */
export interface Reads<R extends Reader> {
  /** Reads the events of a subscription that may have some, as soon as it is its turn. */
  wake(reader: R): void;
  /** Reads nothing more for the subscription. A page that is being read is discarded. */
  remove(reader: R): void;
}

/** The connection, and what happens with the events. */
export interface ReadsOptions<R extends Reader> {
  readonly connection: Pick<Connection, 'isFull' | 'onDrain'>;
  /** Writes a page to the connection. */
  readonly deliver: (reader: R, events: readonly LogEvent[]) => void;
  /** Called each time a subscription has no further events. */
  readonly onTail: (reader: R) => void;
  readonly onFailure: (reader: R, error: unknown) => void;
}

/** Creates the reads of a connection. */
export function createReads<R extends Reader>(options: ReadsOptions<R>): Reads<R> {
  const { connection, deliver, onTail, onFailure } = options;
  /** Subscriptions that may have events, in the order of their turns. */
  const waiting = new Set<R>();
  /** True while the store reads a page: its bytes are not in the buffer yet. */
  let isReading = false;

  connection.onDrain(pump);

  function mayRead(): boolean {
    return !isReading && !connection.isFull;
  }

  /** Reads until another subscription waits. Returns true if the subscription may have further events. */
  function serve(reader: R): boolean {
    try {
      while (mayRead() && reader.isOpen) {
        const next = reader.subscription.next();
        if (next === undefined) {
          onTail(reader);
          return false;
        }
        if (next instanceof Promise) {
          void awaitPage(reader, next);
          return false;
        }
        deliver(reader, next);
        if (reader.subscription.isAtEnd) {
          onTail(reader);
          return false;
        }
        if (waiting.size > 0) {
          break;
        }
      }
      return reader.isOpen;
    } catch (error) {
      onFailure(reader, error);
      return false;
    }
  }

  async function awaitPage(reader: R, next: Promise<readonly LogEvent[] | undefined>): Promise<void> {
    isReading = true;
    try {
      const events = await next;
      if (reader.isOpen) {
        if (events !== undefined) {
          deliver(reader, events);
        }
        // The tail may have received events since the store was read, so an empty result reads again too.
        waiting.add(reader);
      }
    } catch (error) {
      onFailure(reader, error);
    }
    isReading = false;
    pump();
  }

  function pump(): void {
    for (const reader of waiting) {
      if (!mayRead()) {
        return;
      }
      // An entry that is added again is the last one of this iteration.
      waiting.delete(reader);
      if (serve(reader)) {
        waiting.add(reader);
      }
    }
  }

  return {
    wake(reader) {
      // The only subscription with events needs no place in the queue: the live path stays short.
      if (waiting.size > 0 || serve(reader)) {
        waiting.add(reader);
        pump();
      }
    },
    remove(reader) {
      waiting.delete(reader);
    },
  };
}
