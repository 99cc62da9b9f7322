/**
 * A log as `lastseen export` reads it and `lastseen import` fills it: a log can move from one engine to another with its
 * positions and versions, and a range of it can be read elsewhere. Reading goes page by page and holds nothing between
 * the pages. Writing is one transaction.
 */
import { LastseenError } from '../errors.ts';
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

/** The digest of a sealed segment of the log, as `lastseen verify` has computed it. */
export interface SegmentDigest {
  readonly firstPosition: number;
  readonly lastPosition: number;
  /** Events that it covers. */
  readonly events: number;
  /** SHA-256 in hexadecimal digits. */
  readonly sha256: string;
  /** Milliseconds since 1970. */
  readonly checkedAt: number;
}

/** An event of an archive: it belongs to no lineage that a process has open. */
export type ArchivedEvent = Omit<LogEvent, 'lineage'>;

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
  /** Begins a cut of the whole log, one at a time. */
  cut(): Promise<LogCut>;
  close(): Promise<void>;
}

/** The events of a cut that one read returned, ascending, and batches that do not belong to later events. */
export interface CutPage {
  readonly events: readonly ArchivedEvent[];
  readonly batches: readonly KeyedBatch[];
}

/** What the log says about the events of a cut, as of one moment. No mark, batch or term lies beyond its head. */
export interface CutEnd {
  readonly state: LogState;
  readonly feeds: AsyncIterable<readonly PrunedFeed[]>;
  readonly batches: AsyncIterable<readonly KeyedBatch[]>;
  readonly terms: AsyncIterable<readonly Term[]>;
  readonly segments: AsyncIterable<readonly SegmentDigest[]>;
}

/**
 * The whole log as of one moment, whatever servers do meanwhile. The pages may contain events that retention had deleted
 * at that moment: events at or below the mark of their feed do not belong to the cut.
 */
export interface LogCut {
  /** When the cut was begun: its head may be higher. */
  readonly start: LogState;
  /** Returns the next page, and `undefined` after the last. */
  next(): Promise<CutPage | undefined>;
  /** After the last page. */
  end(): Promise<CutEnd>;
  /**
   * Checks that the database still holds the history of the cut.
   * @throws ERR_LOG_REPLACED if another history has replaced it
   */
  confirm(): Promise<void>;
}

/** A feed whose imported events include some that its mark says are deleted: they begin at this position. */
export interface MarkedFeed extends PrunedFeed {
  readonly supersededFrom: number | undefined;
}

/** An empty log to fill. Nothing of it is kept unless `commit` succeeds. */
export interface LogTarget {
  /** Ascending by position. */
  events(events: readonly ArchivedEvent[]): Promise<void>;
  /** After all events. Deletes those that the marks say are deleted. */
  feeds(feeds: readonly MarkedFeed[]): Promise<void>;
  batches(batches: readonly KeyedBatch[]): Promise<void>;
  terms(terms: readonly Term[]): Promise<void>;
  segments(segments: readonly SegmentDigest[]): Promise<void>;
  /** @throws ERR_REQUEST_INVALID if events lie outside of `state` */
  commit(state: LogState): Promise<void>;
  /** Undoes what was not committed, and closes the database. */
  close(): Promise<void>;
}

/** The error for an archive that cannot have one moment of one log. */
export function cutFailed(reason: string): LastseenError {
  return new LastseenError('ERR_LOG_REPLACED', `${reason}: no archive was written, repeat the export`);
}

/** The error for a target that has events. */
export function notEmpty(name: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `${name} is not empty: import a log into a new database`);
}

/** The error for an archive whose events lie outside of the bounds that it names. */
export function outOfBounds(event: number, { floor, head }: LogState): LastseenError {
  return new LastseenError(
    'ERR_REQUEST_INVALID',
    `the archive says that its log has the positions ${floor} to ${head}, and has an event at ${event}: nothing was imported`,
  );
}

/** The error for a database in which an import was interrupted. */
export function importUnfinished(name: string): LastseenError {
  return new LastseenError(
    'ERR_STORE_UNAVAILABLE',
    `an import into ${name} did not finish, and nothing of it was kept: run "lastseen import" again, or begin with a new database`,
  );
}

/** The mark of an import that has begun: a server refuses to start while it is there. The migration makes the same table. */
export const PENDING_IMPORT_TABLE =
  'create table if not exists pending_import (id integer primary key, started_at bigint not null)';
