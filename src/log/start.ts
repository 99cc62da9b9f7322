/**
 * The places at which readers of one history start, and the pages that they get. A history that cannot honour a
 * cursor refuses it with what the reader needs to go on (G6, G13).
 */
import type { CommonGround } from '../errors.ts';
import {
  commonEnd,
  type Cursor,
  type CursorFacts,
  cursorOf,
  judgeCursor,
  malformedCursor,
  MAX_TRAIL,
  parseCursor,
  refusedCursor,
  tooOldError,
} from './cursor.ts';
import { laterOf, type Place } from './place.ts';
import type { History, Page, PageLimit } from './store.ts';

/** The start of a reader: after a cursor, at one end of the log, or at a publisher's time. */
export type Start =
  | {
      /** A cursor, `"start"` or `"now"`. */
      readonly after: string;
      /** Older cursors of the reader. If the log refuses `after`, it names the newest of them that it accepts. */
      readonly trail?: readonly string[];
    }
  | { readonly createdAt: number };

/**
 * Returns the place after which a reader of these access_ids starts.
 * @throws ERR_CURSOR_… if the history cannot honour the cursor
 */
export async function resolveStart(
  history: History,
  accessIds: readonly string[],
  start: Start,
): Promise<Place> {
  if ('createdAt' in start) {
    return placeBefore(history, accessIds, start.createdAt);
  }
  if (start.after === 'start') {
    return history.prunedThrough(accessIds);
  }
  if (start.after === 'now') {
    return history.lastPlace(accessIds);
  }
  const cursor = parseCursor(start.after);
  if (cursor === undefined) {
    throw malformedCursor(start.after, await history.prunedThrough(accessIds));
  }
  const facts = await history.cursorFacts(accessIds, cursor);
  const judgement = judgeCursor(cursor, facts);
  if (judgement.verdict === 'held') {
    return judgement.place;
  }
  const common =
    judgement.verdict === 'diverged'
      ? await commonGround(history, accessIds, { cursor, facts, trail: start.trail ?? [] })
      : undefined;
  throw refusedCursor(judgement.verdict, await history.prunedThrough(accessIds), common);
}

/** If retention has deleted events that a reader has not received, the reader gets an error and not a gap (G6). */
export async function readPage(
  history: History,
  { accessId, position, limit }: { accessId: string; position: number; limit: PageLimit },
): Promise<Page> {
  const page = await history.readFeed(accessId, position, limit);
  if (page.pruned.position > position) {
    throw tooOldError(page.pruned);
  }
  return page;
}

/**
 * Returns the last place that a reader inside this process and the history have in common: the reader's own place,
 * where the two histories part, or the start of the retained feed.
 */
export async function sharedPlace(history: History, accessId: string, place: Place): Promise<Place> {
  if (place.lineage === history.lineage) {
    return place;
  }
  const cursor = parseCursor(cursorOf(place));
  const facts = cursor && (await history.cursorFacts([accessId], cursor));
  const judgement = cursor && facts && judgeCursor(cursor, facts);
  if (judgement?.verdict === 'held') {
    return judgement.place;
  }
  const end = cursor && facts && commonEnd(cursor, facts);
  return end === undefined
    ? history.prunedThrough([accessId])
    : laterOf(await history.lastPlace([accessId], end), await history.prunedThrough([accessId]));
}

async function placeBefore(
  history: History,
  accessIds: readonly string[],
  createdAt: number,
): Promise<Place> {
  // The end of the log is read first: later events come after the start.
  const { head } = await history.bounds();
  const firsts = await Promise.all(accessIds.map((accessId) => history.firstSince(accessId, createdAt)));
  const first = Math.min(head + 1, ...firsts.map((position) => position ?? Infinity));
  return history.lastPlace(accessIds, first - 1);
}

/** Finds the last place that a refused cursor and the log have in common: by its term, else by the reader's trail. */
async function commonGround(
  history: History,
  accessIds: readonly string[],
  refused: { readonly cursor: Cursor; readonly facts: CursorFacts; readonly trail: readonly string[] },
): Promise<CommonGround | undefined> {
  const end = commonEnd(refused.cursor, refused.facts);
  if (end !== undefined) {
    const place = await history.lastPlace(accessIds, end);
    if (place.position <= end) {
      return { cursor: cursorOf(place), by: 'term' };
    }
  }
  let newest: Place | undefined;
  for (const text of refused.trail.slice(0, MAX_TRAIL)) {
    const cursor = parseCursor(text);
    const judgement = cursor && judgeCursor(cursor, await history.cursorFacts(accessIds, cursor));
    if (judgement?.verdict === 'held') {
      newest = newest === undefined ? judgement.place : laterOf(newest, judgement.place);
    }
  }
  return newest && { cursor: cursorOf(newest), by: 'trail' };
}
