/**
 * A log outside any engine: what `lastseen export` writes and `lastseen import` reads, so that it can move from one
 * engine to another with its positions and versions, or a range of it can be read elsewhere. Reading asks for pages and
 * holds nothing between them; writing is one transaction.
 */
import type { Event } from '../log/event.ts';

/** Where a log begins and ends. */
export interface LogState {
  readonly epoch: string;
  /** Lowest position retained. */
  readonly floor: number;
  readonly head: number;
}

/** What retention has taken from a feed. Versions and positions never restart, so it moves with the log. */
export interface PrunedFeed {
  readonly accessId: string;
  /** Of its last event. */
  readonly version: number;
  readonly position: number;
  /** Of the last event that is gone. */
  readonly prunedVersion: number;
  readonly prunedPosition: number;
}

/** A batch that can be repeated under its key. */
export interface KeyedBatch {
  readonly key: string;
  readonly fingerprint: string;
  readonly firstPosition: number;
  readonly lastPosition: number;
}

/** A log that is read. A server may be running over it. */
export interface LogSource {
  state(): Promise<LogState>;
  /** The next events after `position`, at most `limit`. */
  events(position: number, limit: number): Promise<readonly Event[]>;
  /** The next events of these access_ids after `position` and up to `through`, at most `limit`. */
  eventsOf(
    accessIds: readonly string[],
    position: number,
    through: number,
    limit: number,
  ): Promise<readonly Event[]>;
  /** Position of the last event that is gone, of these access_ids or, if there are none, of all; 0 if nothing is. */
  prunedThrough(accessIds: readonly string[]): Promise<number>;
  /** The next feeds after `accessId` that have lost events. */
  feeds(accessId: string, limit: number): Promise<readonly PrunedFeed[]>;
  batches(key: string, limit: number): Promise<readonly KeyedBatch[]>;
  close(): Promise<void>;
}

/** An empty log that is filled: whole, by `commit`, or not at all. */
export interface LogTarget {
  /** Ascending by position. */
  events(events: readonly Event[]): Promise<void>;
  feeds(feeds: readonly PrunedFeed[]): Promise<void>;
  batches(batches: readonly KeyedBatch[]): Promise<void>;
  commit(state: LogState): Promise<void>;
  /** Undoes what was not committed, and lets go. */
  close(): Promise<void>;
}
