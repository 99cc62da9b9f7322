/**
 * A log as `lastseen export` reads it and `lastseen import` fills it: a log can move from one engine to another with its
 * positions and versions, and a range of it can be read elsewhere. Reading goes page by page and holds nothing between
 * the pages. Writing is one transaction. Types only.
 */
import type { Cursor, CursorFacts } from '../log/cursor.ts';
import type { LogEvent } from '../log/event.ts';
import type { Lineage, Place } from '../log/place.ts';

/** Where a log begins and ends. */
export interface LogState {
  readonly epoch: string;
  /** Lowest position retained. */
  readonly floor: number;
  readonly head: number;
  /** Events from this position on have tags. */
  readonly taggedFrom: number;
}

/** A feed from which retention has deleted events. It moves with the log, so that positions and versions do not restart. */
export interface PrunedFeed {
  readonly accessId: string;
  /** Of its last event. */
  readonly version: number;
  readonly position: number;
  /** Of the last event that was deleted. */
  readonly prunedVersion: number;
  readonly prunedPosition: number;
  readonly prunedTag: number;
}

/** A batch that can be repeated under its key. */
export interface KeyedBatch {
  readonly key: string;
  readonly fingerprint: string;
  readonly firstPosition: number;
  readonly lastPosition: number;
  readonly tag: number;
}

/** A term: the tags of the events from its first position on carry it, up to the first position of the next. */
export interface Term {
  readonly term: number;
  readonly firstPosition: number;
  /** Milliseconds since 1970. */
  readonly openedAt: number;
  readonly node: string;
}

/** A log to read. A server may be running over it. */
export interface LogSource {
  /** Of the places that the source returns. */
  readonly lineage: Lineage;
  state(): Promise<LogState>;
  /** The next events after `position`, at most `limit`. */
  events(position: number, limit: number): Promise<readonly LogEvent[]>;
  /** The next events of these access_ids in a range of positions, at most `limit`. */
  eventsOf(
    accessIds: readonly string[],
    range: { readonly after: number; readonly through: number; readonly limit: number },
  ): Promise<readonly LogEvent[]>;
  /** The last deleted event of these access_ids, or of all if the list is empty; the origin if none was deleted. */
  prunedThrough(accessIds: readonly string[]): Promise<Place>;
  /** What the log knows about the place of a cursor, for a reader of these access_ids, or of all if the list is empty. */
  cursorFacts(accessIds: readonly string[], cursor: Cursor): Promise<CursorFacts>;
  /** The place at this position; the nearest event before it if retention deleted the event there, else the origin. */
  placeAt(position: number): Promise<Place>;
  /** The next feeds after `accessId` from which events were deleted. */
  feeds(accessId: string, limit: number): Promise<readonly PrunedFeed[]>;
  batches(key: string, limit: number): Promise<readonly KeyedBatch[]>;
  /** The next terms after the number `term`. */
  terms(term: number, limit: number): Promise<readonly Term[]>;
  close(): Promise<void>;
}

/** An empty log to fill. Nothing of it is kept unless `commit` succeeds. */
export interface LogTarget {
  /** Ascending by position. */
  events(events: readonly Omit<LogEvent, 'lineage'>[]): Promise<void>;
  feeds(feeds: readonly PrunedFeed[]): Promise<void>;
  batches(batches: readonly KeyedBatch[]): Promise<void>;
  terms(terms: readonly Term[]): Promise<void>;
  commit(state: LogState): Promise<void>;
  /** Undoes what was not committed, and closes the database. */
  close(): Promise<void>;
}
