/** Where a loop is in each of its feeds: the cursor and version of the last event that the loop has taken, and the trail. */
import { ClientError } from '../errors.ts';
import type { CursorStore } from './cursor-store.ts';
import type { ClientEvent } from './event.ts';
import { createTrail, isCursor, type Trail } from './trail.ts';

export interface FeedCursors {
  /** Where the next connection starts: a cursor, "start" or "now" for each access_id. */
  starts(): ReadonlyMap<string, string>;
  /** Older cursors of the feed, to send with its start. */
  trail(accessId: string): readonly string[];
  /** The server has resolved "start" or "now" to a cursor. A cursor of the loop stays what it is. */
  resolveStart(accessId: string, cursor: string): void;
  /** @throws ERR_GAP if the event is of another access_id or does not follow the last event of its feed */
  assertContiguous(event: ClientEvent): void;
  /** The loop has taken the event. Resolves when the store has its cursor. */
  take(event: ClientEvent): Promise<void>;
  /** The version at an earlier cursor of the feed, if it is known. */
  versionAt(accessId: string, cursor: string): number | undefined;
  /** The highest version that the loop has seen, if it is known. */
  lastVersion(accessId: string): number | undefined;
  /** Reading starts again at a cursor, "start" or "now", in the feed of `accessId` or, without one, in all. */
  restartAt(start: string, accessId: string | undefined): Promise<void>;
}

export interface FeedCursorsOptions {
  readonly accessIds: readonly string[];
  readonly store: CursorStore | undefined;
  /** For a feed of which the store knows nothing: a cursor, "start" or "now". */
  readonly after: string;
}

interface Feed {
  /** A cursor, "start" or "now". */
  start: string;
  /** The version at the cursor, if it is known. */
  version: number | undefined;
  readonly trail: Trail;
}

/** @throws what the store throws */
export async function loadFeedCursors({ accessIds, store, after }: FeedCursorsOptions): Promise<FeedCursors> {
  const feeds = new Map<string, Feed>();
  for (const accessId of accessIds) {
    const start = (await store?.load(accessId)) ?? after;
    const trail = createTrail(await store?.trail?.load(accessId));
    feeds.set(accessId, { start, version: trail.versionOf(start), trail });
  }

  async function save(accessId: string, { start, trail }: Feed): Promise<void> {
    if (store?.trail !== undefined) {
      await store.trail.save(accessId, trail.text());
    }
    await store?.save(accessId, start);
  }

  return {
    starts: () => new Map([...feeds].map(([accessId, { start }]) => [accessId, start])),
    trail: (accessId) => {
      const feed = feeds.get(accessId);
      return feed?.trail.cursors().filter((cursor) => cursor !== feed.start) ?? [];
    },
    resolveStart(accessId, cursor) {
      const feed = feeds.get(accessId);
      if (feed !== undefined && !isCursor(feed.start)) {
        feed.start = cursor;
      }
    },
    assertContiguous({ accessId, version }) {
      const name = JSON.stringify(accessId);
      const feed = feeds.get(accessId);
      if (feed === undefined) {
        throw new ClientError(
          'ERR_GAP',
          `got an event of ${name}, which is not an access_id of this subscription`,
          { accessId },
        );
      }
      const last = feed.version;
      if (last !== undefined && version !== last + 1) {
        throw new ClientError('ERR_GAP', `got version ${version} of ${name}, expected ${last + 1}`, {
          accessId,
        });
      }
    },
    async take({ accessId, cursor, version }) {
      const feed = feeds.get(accessId);
      if (feed !== undefined) {
        feed.trail.add({ cursor, version }, feed.start);
        feed.start = cursor;
        feed.version = version;
        await save(accessId, feed);
      }
    },
    versionAt: (accessId, cursor) => feeds.get(accessId)?.trail.versionOf(cursor),
    lastVersion: (accessId) => feeds.get(accessId)?.trail.lastVersion,
    async restartAt(start, accessId) {
      for (const name of accessId === undefined ? accessIds : [accessId]) {
        const feed = feeds.get(name);
        if (feed !== undefined) {
          feed.start = start;
          feed.version = feed.trail.versionOf(start);
          feed.trail.restartAt(start);
          if (isCursor(start)) {
            await save(name, feed);
          }
        }
      }
    },
  };
}
