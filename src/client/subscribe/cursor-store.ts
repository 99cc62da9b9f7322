/** Stores that keep the cursor of each feed across restarts. */
import type { FeedPlace } from './feed-place.ts';

/** What a store has for a feed: a cursor, or the place that `save` got; `null` or `undefined` if it has nothing. */
export type StoredPlace = string | FeedPlace | null | undefined;

export interface CursorStore {
  /** A store that returns the place, and not the cursor alone, keeps the trail across restarts. */
  load(accessId: string): StoredPlace | Promise<StoredPlace>;
  /**
   * Called after the loop has taken an event and before it gets the next one. An error ends the loop. `place` has the
   * cursor and the trail, and is JSON. A store may keep the cursor alone.
   */
  save(accessId: string, cursor: string, place?: FeedPlace): void | Promise<void>;
}

/** The part of `localStorage` and `sessionStorage` that the store uses. */
interface WebStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/**
 * Keeps the place in each feed in the browser's `localStorage`, under `prefix` and the access_id: JSON text, or the
 * cursor alone as earlier releases wrote it.
 */
export function localStorageStore(
  prefix = 'lastseen:',
  storage: WebStorage = (globalThis as unknown as { localStorage: WebStorage }).localStorage,
): CursorStore {
  return {
    load: (accessId) => {
      const text = storage.getItem(prefix + accessId);
      return text?.startsWith('{') === true ? (JSON.parse(text) as FeedPlace) : text;
    },
    save: (accessId, cursor, place) => {
      storage.setItem(prefix + accessId, place === undefined ? cursor : JSON.stringify(place));
    },
  };
}

/**
 * A store for an application that writes `event.cursor` itself, in the transaction that writes the effect of the event:
 * each event then takes effect exactly once. `load` reads the cursor back.
 */
export function cursorFrom(load: CursorStore['load']): CursorStore {
  return { load, save: () => undefined };
}
