/** Where a loop is in each of its feeds: the cursor and version of the last event that the loop has taken. */
import { ClientError } from '../errors.ts';
import type { CursorStore } from './cursor-store.ts';
import type { ClientEvent } from './event.ts';

export interface FeedCursors {
  /** Where the next connection starts: a cursor, "start" or "now" for each access_id. */
  starts(): ReadonlyMap<string, string>;
  /** The server has resolved "start" or "now" to a cursor. A cursor of the loop stays what it is. */
  resolveStart(accessId: string, cursor: string): void;
  /** @throws ERR_GAP if the event is of another access_id or does not follow the last event of its feed */
  assertContiguous(event: ClientEvent): void;
  /** The loop has taken the event. Resolves when the store has its cursor. */
  take(event: ClientEvent): Promise<void>;
  /** Reading starts again at `floor`, in the feed of `accessId` or, without one, in all. */
  restartAt(floor: string, accessId: string | undefined): Promise<void>;
}

export interface FeedCursorsOptions {
  readonly accessIds: readonly string[];
  readonly store: CursorStore | undefined;
  /** For a feed of which the store knows nothing: a cursor, "start" or "now". */
  readonly after: string;
}

/** @throws what the store throws */
export async function loadFeedCursors({ accessIds, store, after }: FeedCursorsOptions): Promise<FeedCursors> {
  const cursors = new Map<string, string>();
  const versions = new Map<string, number>();
  for (const accessId of accessIds) {
    cursors.set(accessId, (await store?.load(accessId)) ?? after);
  }
  return {
    starts: () => new Map(cursors),
    resolveStart(accessId, cursor) {
      const start = cursors.get(accessId);
      if (start === 'start' || start === 'now') {
        cursors.set(accessId, cursor);
      }
    },
    assertContiguous({ accessId, version }) {
      const name = JSON.stringify(accessId);
      if (!cursors.has(accessId)) {
        throw new ClientError(
          'ERR_GAP',
          `got an event of ${name}, which is not an access_id of this subscription`,
          { accessId },
        );
      }
      const last = versions.get(accessId);
      if (last !== undefined && version !== last + 1) {
        throw new ClientError('ERR_GAP', `got version ${version} of ${name}, expected ${last + 1}`, {
          accessId,
        });
      }
    },
    async take({ accessId, cursor, version }) {
      cursors.set(accessId, cursor);
      versions.set(accessId, version);
      await store?.save(accessId, cursor);
    },
    async restartAt(floor, accessId) {
      for (const feed of accessId === undefined ? accessIds : [accessId]) {
        cursors.set(feed, floor);
        versions.delete(feed);
        await store?.save(feed, floor);
      }
    },
  };
}
