/** Stores that keep the cursor of each feed across restarts. */

export interface CursorStore {
  /** The stored cursor of the access_id; `null` or `undefined` if there is none. */
  load(accessId: string): string | null | undefined | Promise<string | null | undefined>;
  /** Called after the loop has taken an event and before it gets the next one. An error ends the loop. */
  save(accessId: string, cursor: string): void | Promise<void>;
}

/** The part of `localStorage` and `sessionStorage` that the store uses. */
interface WebStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Keeps each cursor in the browser's `localStorage`, under `prefix` and the access_id. */
export function localStorageStore(
  prefix = 'lastseen:',
  storage: WebStorage = (globalThis as unknown as { localStorage: WebStorage }).localStorage,
): CursorStore {
  return {
    load: (accessId) => storage.getItem(prefix + accessId),
    save: (accessId, cursor) => {
      storage.setItem(prefix + accessId, cursor);
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
