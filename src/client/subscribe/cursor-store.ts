/** Stores that keep the cursor and the trail of each feed across restarts. */

/** Keeps one text for each access_id. */
export interface TextStore {
  /** The stored text of the access_id; `null` or `undefined` if there is none. */
  load(accessId: string): string | null | undefined | Promise<string | null | undefined>;
  /** Replaces the text. An error ends the loop. */
  save(accessId: string, text: string): void | Promise<void>;
}

/** Keeps the cursor of each feed. The loop saves a cursor after it has taken an event and before it gets the next one. */
export interface CursorStore extends TextStore {
  /**
   * Keeps the trail of each feed, a text of about 1 KB that the loop saves just before each cursor. After a restart, the
   * trail shows which of the events before it a replaced history has lost. The trail may be older than the cursor.
   * Default: nothing is kept.
   */
  readonly trail?: TextStore;
}

/** The key of the trail of an access_id, in a store that keeps both texts. An access_id contains no U+0000. */
export function trailKey(accessId: string): string {
  return `${accessId}\0trail`;
}

/** The part of `localStorage` and `sessionStorage` that the store uses. */
interface WebStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Keeps each cursor and its trail in the browser's `localStorage`, under `prefix` and the access_id. */
export function localStorageStore(
  prefix = 'lastseen:',
  storage: WebStorage = (globalThis as unknown as { localStorage: WebStorage }).localStorage,
): CursorStore {
  const textStore = (key: (accessId: string) => string): TextStore => ({
    load: (accessId) => storage.getItem(prefix + key(accessId)),
    save: (accessId, text) => {
      storage.setItem(prefix + key(accessId), text);
    },
  });
  return { ...textStore((accessId) => accessId), trail: textStore(trailKey) };
}

/**
 * A store for an application that writes `event.cursor` itself, in the transaction that writes the effect of the event:
 * each event then takes effect exactly once. `load` reads the cursor back. The trail needs no transaction: any store can
 * keep it.
 */
export function cursorFrom(load: CursorStore['load'], trail?: TextStore): CursorStore {
  return { load, save: () => undefined, ...(trail === undefined ? {} : { trail }) };
}
