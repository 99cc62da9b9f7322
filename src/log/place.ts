/**
 * A place in the log: a position together with the proof of the history that it belongs to (G13). Every event
 * of one commit carries the same random tag, so the same tag at the same position proves the same history
 * before it.
 */

/**
 * One history of the log, as this process has opened it. The object itself is the identity: places of two
 * lineages are never compared, even if their epochs are equal.
 */
export interface Lineage {
  /** 8 characters that name the log. A reset changes them. */
  readonly epoch: string;
}

/** A position of one history, and the tag of the event there. An event is a place. */
export interface Place {
  readonly lineage: Lineage;
  readonly position: number;
  /** 52 bits: 20 bits for the term, 32 bits for the commit. 0 at position 0 and for events without a tag. */
  readonly tag: number;
}

/** Number of bits of a tag that are random for each commit. */
const COMMIT_VALUES = 2 ** 32;

/** Number of different terms. Term 0 does not exist: it marks events without a tag. */
export const TERMS = 2 ** 20;

/** Combines a term and the random number of a commit. */
export function tagOf(term: number, commit: number): number {
  return term * COMMIT_VALUES + commit;
}

/** Returns the term of a tag; 0 for an event without a tag. */
export function termOf(tag: number): number {
  return Math.floor(tag / COMMIT_VALUES);
}

/** The place before the first event of a history. */
export function originOf(lineage: Lineage): Place {
  return { lineage, position: 0, tag: 0 };
}

/** Returns the later of two places of one lineage. */
export function laterOf(a: Place, b: Place): Place {
  return b.position > a.position ? b : a;
}
