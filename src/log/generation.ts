/**
 * Everything that belongs to one history of the log: the history of the engine, and the tail over it. A
 * generation is replaced whole, and no position passes from one to the next (G3, G13).
 */
import { LastseenError } from '../errors.ts';
import type { Place } from './place.ts';
import type { EventStore, History } from './store.ts';
import { createTail, type Tail, type TailLimits } from './tail.ts';

/** One generation of the log. */
export interface Generation {
  readonly history: History;
  readonly tail: Tail;
  /** @throws ERR_LOG_REPLACED if the generation has ended */
  requireCurrent(): void;
  /** @throws ERR_LOG_REPLACED if the place belongs to another generation, or this one has ended */
  requireOwn(place: Place): void;
  /** Ends the generation. Its subscriptions return no more events. */
  end(): void;
  /** Releases what it holds. */
  close(): Promise<void>;
}

/** The store, and the listeners of a generation. */
export interface GenerationOptions {
  readonly store: EventStore;
  readonly onError: (error: unknown) => void;
  /** Called once when the store turns out to hold another history. */
  readonly onEnd: () => void;
  readonly tailLimits?: TailLimits;
}

/** Opens the history that the store holds now. */
export async function openGeneration(options: GenerationOptions): Promise<Generation> {
  const { store, onError, tailLimits } = options;
  const history = await store.open();
  const tail = createTail({
    store: history,
    head: history.head,
    onError,
    ...(tailLimits === undefined ? {} : { limits: tailLimits }),
  });
  let isOver = false;
  const stopWake = store.onWake(tail.wake);
  const stopEnd = history.onEnd(options.onEnd);

  function requireCurrent(): void {
    if (isOver) {
      throw logReplaced();
    }
  }

  return {
    history,
    tail,
    requireCurrent,
    requireOwn(place) {
      requireCurrent();
      if (place.lineage !== history.lineage) {
        throw logReplaced();
      }
    },
    end() {
      isOver = true;
      stopWake();
      stopEnd();
      tail.close();
    },
    close: () => history.close(),
  };
}

/** The error for work that belongs to a history which the store no longer holds. */
export function logReplaced(): LastseenError {
  return new LastseenError(
    'ERR_LOG_REPLACED',
    'another history of the log has replaced the one that the request began with: nothing was done, retry',
  );
}
