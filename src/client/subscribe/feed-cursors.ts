/** Where a loop is in each of its feeds: the place after the last event that the loop has taken. */
import { ClientError, type UnprovenVersions } from '../errors.ts';
import type { CursorStore } from './cursor-store.ts';
import type { ClientEvent } from './event.ts';
import { type FeedPlace, isCursor, parsePlace, placeAfter, placeAt } from './feed-place.ts';
import type { FeedStart } from './transport.ts';

export interface FeedCursors {
  /** Where the next connection starts in each feed. */
  starts(): ReadonlyMap<string, FeedStart>;
  /** The server has resolved "start" or "now" to a cursor. A cursor of the loop stays what it is. */
  resolveStart(accessId: string, cursor: string): void;
  /** @throws ERR_GAP if the event is of another access_id or does not follow the last event of its feed */
  assertContiguous(event: ClientEvent): void;
  /** The loop has taken the event. Resolves when the store has its cursor. */
  take(event: ClientEvent): Promise<void>;
  /** The version before a cursor of the loop or of its trail; `undefined` for another cursor. */
  versionAt(accessId: string, cursor: string): number | undefined;
  /** The versions after `common` that the loop has taken. */
  unprovenAfter(accessId: string, common: number | undefined): UnprovenVersions;
  /**
   * Reading starts again at a cursor, in the feed of `accessId` or, without one, in all. `version` is the last version
   * before it; if it is not known, the next event may have any version.
   */
  restartAt(cursor: string, feed: RestartedFeed): Promise<void>;
}

export interface RestartedFeed {
  readonly accessId: string | undefined;
  readonly version: number | undefined;
}

export interface FeedCursorsOptions {
  readonly accessIds: readonly string[];
  readonly store: CursorStore | undefined;
  /** For a feed of which the store knows nothing: a cursor, "start" or "now". */
  readonly after: string;
}

/** @throws what the store throws */
export async function loadFeedCursors({ accessIds, store, after }: FeedCursorsOptions): Promise<FeedCursors> {
  const places = new Map<string, FeedPlace>();
  const placeOf = (accessId: string): FeedPlace => places.get(accessId) ?? { cursor: after, trail: [] };
  for (const accessId of accessIds) {
    places.set(accessId, parsePlace(await store?.load(accessId)) ?? placeOf(accessId));
  }

  async function move(accessId: string, place: FeedPlace): Promise<void> {
    places.set(accessId, place);
    await store?.save(accessId, place.cursor, place);
  }

  return {
    starts: () =>
      new Map(
        [...places].map(([accessId, { cursor, trail }]) => [
          accessId,
          { after: cursor, trail: trail.map((mark) => mark.cursor) },
        ]),
      ),
    resolveStart(accessId, cursor) {
      if (!isCursor(placeOf(accessId).cursor)) {
        places.set(accessId, { cursor, trail: [] });
      }
    },
    assertContiguous({ accessId, version }) {
      const name = JSON.stringify(accessId);
      if (!places.has(accessId)) {
        throw new ClientError(
          'ERR_GAP',
          `got an event of ${name}, which is not an access_id of this subscription`,
          { accessId },
        );
      }
      const last = placeOf(accessId).version;
      if (last !== undefined && version !== last + 1) {
        throw new ClientError('ERR_GAP', `got version ${version} of ${name}, expected ${last + 1}`, {
          accessId,
        });
      }
    },
    take: (event) => move(event.accessId, placeAfter(placeOf(event.accessId), event)),
    versionAt(accessId, cursor) {
      const { trail, ...last } = placeOf(accessId);
      return [last, ...trail].find((mark) => mark.cursor === cursor)?.version;
    },
    unprovenAfter: (accessId, common) => ({
      from: common === undefined ? undefined : common + 1,
      through: placeOf(accessId).version,
    }),
    async restartAt(cursor, { accessId, version }) {
      for (const feed of accessId === undefined ? accessIds : [accessId]) {
        await move(feed, placeAt(placeOf(feed), cursor, version));
      }
    },
  };
}
