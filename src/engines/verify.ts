/**
 * A log as `lastseen verify` reads it, also while servers run over it. Each call is one short transaction, so it sees one
 * moment of the log and pins nothing between the calls. Types only.
 */
import type { ArchivedEvent, KeyedBatch, LogState, PrunedFeed, SegmentDigest, Term } from './archive.ts';

/** The next events, and what the log said about them at that moment. */
export interface VerifyPage {
  readonly state: LogState;
  /** Tag of the last event, where the engine keeps it beside the events. */
  readonly headTag: number | undefined;
  readonly events: readonly ArchivedEvent[];
  /** Marks of retention of the access_ids of these events. */
  readonly marks: ReadonlyMap<string, Pick<PrunedFeed, 'prunedVersion' | 'prunedPosition'>>;
  /** Terms that were in force at one of the events, ascending by their first position. */
  readonly terms: readonly Term[];
}

/** A row of the table of feeds, and the event that it names as the last, if the log has it. */
export interface FeedRow extends PrunedFeed {
  readonly last: { readonly accessId: string; readonly version: number } | undefined;
}

/** A batch, and the tag of its last event, if the log has it. */
export interface BatchRow extends KeyedBatch {
  readonly lastTag: number | undefined;
}

/** A row of the deferred index of the SQLite engine. */
export interface IndexChunk {
  readonly accessId: string;
  readonly lastOffset: number;
  readonly maxCreatedAt: number;
  readonly offsets: readonly number[];
}

/** The deferred index of the SQLite engine. */
export interface VerifyIndex {
  /** The index on disk covers the events up to this position. */
  indexedThrough(): Promise<number>;
  /** The rows of a segment: positions from `segment * 65,536` on. */
  chunks(segment: number): Promise<readonly IndexChunk[]>;
}

export interface LogUnderCheck {
  /** The next events after `position`. Empty at the end of the log. */
  page(position: number): Promise<VerifyPage>;
  /** The next rows of the table of feeds after `accessId`, and the head of that moment. */
  feeds(accessId: string): Promise<{ readonly head: number; readonly feeds: readonly FeedRow[] }>;
  /** The next batches after `key`, and the head of that moment. */
  batches(key: string): Promise<{ readonly head: number; readonly batches: readonly BatchRow[] }>;
  /** Position of the last event that retention has deleted from this access_id; 0 if there is none. */
  prunedPosition(accessId: string): Promise<number>;
  /** `undefined` if the engine has an index that belongs to the table. */
  readonly index: VerifyIndex | undefined;
  /** The digests that were kept, ascending. */
  segments(): Promise<readonly SegmentDigest[]>;
  /** Keeps digests in place of those of the same segments, and forgets those of `gone`. Undefined for a file that is only read. */
  readonly keep: ((segments: readonly SegmentDigest[], gone: readonly number[]) => Promise<void>) | undefined;
  close(): Promise<void>;
}
