/** Where a loop is in a feed, and the trail of older cursors that can prove an earlier place if this one is refused. */

/** A cursor, and the version of the last event before it. */
export interface Mark {
  readonly cursor: string;
  readonly version: number;
}

/** The place of a loop in one feed. It is JSON. */
export interface FeedPlace {
  /** The cursor of the last event that the loop has taken. */
  readonly cursor: string;
  /** The version of that event; absent if it is not known. */
  readonly version?: number;
  /** Older places at doubling distances, newest first. */
  readonly trail: readonly Mark[];
}

/** Marks of a trail: the oldest is then up to 2^24 versions behind. The server accepts 32. */
const MAX_MARKS = 24;

/** The place after an event of the feed. */
export function placeAfter(last: FeedPlace, { cursor, version }: Mark): FeedPlace {
  // The event follows the last place, so the place is known now even if its version was not.
  const previous = { cursor: last.cursor, version: last.version ?? version - 1 };
  const marks = isCursor(last.cursor) ? [previous, ...last.trail] : last.trail;
  const byDistance = new Map<number, Mark>();
  for (const mark of marks) {
    const bits = Math.floor(Math.log2(version - mark.version));
    if (bits >= 0 && bits < MAX_MARKS) {
      // The oldest of each distance stays, so that it is there when it belongs to the next distance.
      byDistance.set(bits, mark);
    }
  }
  return { cursor, version, trail: [...byDistance.values()] };
}

/** The place at a cursor before `last`: a mark of it, or one about which nothing is known. */
export function placeAt(last: FeedPlace, cursor: string, version: number | undefined): FeedPlace {
  return version === undefined
    ? { cursor, trail: [] }
    : { cursor, version, trail: last.trail.filter((mark) => mark.version < version) };
}

/** The place that a store gives: a cursor, or what `save` got. Marks that are none are left out. */
export function parsePlace(stored: unknown): FeedPlace | undefined {
  if (typeof stored === 'string') {
    return { cursor: stored, trail: [] };
  }
  const { cursor, version, trail } = (stored ?? {}) as Partial<Record<keyof FeedPlace, unknown>>;
  if (typeof cursor !== 'string') {
    return undefined;
  }
  if (!Number.isSafeInteger(version) || !Array.isArray(trail)) {
    return { cursor, trail: [] };
  }
  const last = version as number;
  const isMark = (mark: Partial<Mark> | null): boolean =>
    typeof mark?.cursor === 'string' && Number.isSafeInteger(mark.version) && Number(mark.version) < last;
  return { cursor, version: last, trail: (trail as Mark[]).filter(isMark).slice(0, MAX_MARKS) };
}

/** Whether a start is a cursor, and not a word that the server resolves. */
export function isCursor(after: string): boolean {
  return after !== 'start' && after !== 'now';
}
