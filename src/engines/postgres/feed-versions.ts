/**
 * The last version of each feed, as our own commits have left it. It holds only while nobody else appends: the place at
 * the end of the log, read under the append lock, tells. A position alone would not: another history may end there too.
 */
import type { Place } from '../../log/place.ts';

/** Where the log ends. */
export type LogEnd = Pick<Place, 'position' | 'tag'>;

/** Feeds remembered at most. */
const MAX_FEEDS = 200_000;

export interface FeedVersions {
  /** End of the log after our last commit; position −1 when nothing is remembered. */
  readonly end: LogEnd;
  /** The versions as of that end. */
  readonly versions: ReadonlyMap<string, number>;
  /** What is known of a log that ends here. */
  asOf(end: LogEnd): ReadonlyMap<string, number>;
  /** Reports that our commit moved the end. Returns a map: the caller writes the last versions of its feeds into it. */
  move(before: LogEnd, end: LogEnd): Map<string, number>;
  clear(): void;
}

const NOTHING: LogEnd = { position: -1, tag: 0 };
const NONE: ReadonlyMap<string, number> = new Map();

export function createFeedVersions(): FeedVersions {
  let knownEnd = NOTHING;
  let known = new Map<string, number>();

  return {
    get end() {
      return knownEnd;
    },
    get versions() {
      return known;
    },
    asOf: (end) => (isSame(end, knownEnd) ? known : NONE),
    move(before, end) {
      if (!isSame(before, knownEnd) || known.size > MAX_FEEDS) {
        known = new Map();
      }
      knownEnd = end;
      return known;
    },
    clear() {
      knownEnd = NOTHING;
    },
  };
}

function isSame(a: LogEnd, b: LogEnd): boolean {
  return a.position === b.position && a.tag === b.tag;
}
