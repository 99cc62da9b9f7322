/**
 * The last version of each feed, as our own commits have left it. It holds only while nobody else appends: the head of
 * the log, read under the append lock, tells.
 */

/** Feeds remembered at most. */
const MAX_FEEDS = 200_000;

export interface FeedVersions {
  /** Head of the log after our last commit; −1 when nothing is remembered. */
  readonly head: number;
  /** The versions as of that head. */
  readonly versions: ReadonlyMap<string, number>;
  /** What is known of a log whose head is this one. */
  asOf(head: number): ReadonlyMap<string, number>;
  /** Reports that our commit moved the head. Returns a map: the caller writes the last versions of its feeds into it. */
  move(headBefore: number, head: number): Map<string, number>;
  clear(): void;
}

const NONE: ReadonlyMap<string, number> = new Map();

export function createFeedVersions(): FeedVersions {
  let knownHead = -1;
  let known = new Map<string, number>();

  return {
    get head() {
      return knownHead;
    },
    get versions() {
      return known;
    },
    asOf: (head) => (head === knownHead ? known : NONE),
    move(headBefore, head) {
      if (headBefore !== knownHead || known.size > MAX_FEEDS) {
        known = new Map();
      }
      knownHead = head;
      return known;
    },
    clear() {
      knownHead = -1;
    },
  };
}
