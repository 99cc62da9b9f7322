/** Where a loop keeps its place across restarts. */

export interface CursorStore {
  load(accessId: string): string | null | undefined | Promise<string | null | undefined>;
  /** Called when the loop has taken an event, before the next is given. */
  save(accessId: string, cursor: string): void | Promise<void>;
}

/** The part of `localStorage` and `sessionStorage` that is used. */
interface WebStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Cursors in the browser's `localStorage`, each under `prefix` and its access_id. */
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
 * For an application that writes `event.cursor` itself, in the transaction in which it writes what it made of the event:
 * then each event takes effect exactly once. `load` reads it from there.
 */
export function cursorFrom(load: CursorStore['load']): CursorStore {
  return { load, save: () => undefined };
}
