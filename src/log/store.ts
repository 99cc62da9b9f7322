/**
 * The port between the log and an engine. An engine guarantees: appends are atomic for each request and
 * durable when acknowledged (G1, G4). Positions and versions have no gaps and follow commit order (G2). Ids
 * are unique within their access_id (G5). A range that a read has covered does not gain events later.
 */
import type { LastseenError } from '../errors.ts';
import type { Cursor, CursorFacts } from './cursor.ts';
import type { LogEvent, NewEvent } from './event.ts';
import type { Lineage, Place } from './place.ts';

/**
 * A row to write in the same transaction as the events that describe the change. The engine creates it; other
 * code does not read it.
 */
export interface RowChange {
  readonly sql: string;
  readonly bindings: readonly unknown[];
  /** Number of rows that the statement must change. Otherwise the engine refuses the whole request. */
  readonly rows?: number;
}

/** The batch of one caller. The engine appends it atomically. */
export interface AppendRequest {
  readonly events: readonly NewEvent[];
  /**
   * Makes a retry safe. A request with the same key and fingerprint is acknowledged again; one with another
   * fingerprint is refused.
   */
  readonly key: { readonly value: string; readonly fingerprint: string } | null;
  /** Rows to write atomically with the events. */
  readonly rows?: readonly RowChange[];
}

/** The place of an appended event. */
export interface Receipt extends Place {
  readonly version: number;
  /**
   * True if the log contained the event before this request. The place and `version` are those of the existing
   * event.
   */
  readonly duplicate: boolean;
}

/**
 * An appended event with its receipt: one object, because two would cost each push more. In a duplicate, `createdAt`
 * and `recordedAt` are not those of the existing event.
 */
export interface AppendedEvent extends LogEvent, Receipt {}

/**
 * The outcome of one request: its events in request order, or the error. After an error nothing of the
 * request is appended.
 */
export type AppendOutcome =
  { readonly receipts: readonly AppendedEvent[] } | { readonly refused: LastseenError };

/** The result of one commit: an outcome for each request, in request order. */
export interface AppendResult {
  readonly recordedAt: number;
  readonly outcomes: readonly AppendOutcome[];
}

/** The result of an append. It is pending if the connection to the store was lost during the commit. */
export type AppendAnswer = AppendResult | { readonly pending: Promise<AppendResult> };

/** The bounds of the retained log. In an empty log, `floor` is `head + 1`. */
export interface Bounds {
  /** 8 characters that change when the log is reset. */
  readonly epoch: string;
  /** Lowest retained position. */
  readonly floor: number;
  /** Highest committed position; 0 in a new log. */
  readonly head: number;
}

/** Maximum size of a page. A page contains at least one event, whatever its size, if there is one. */
export interface PageLimit {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

/** A page of events of one access_id, in ascending order. */
export interface Page {
  readonly events: readonly LogEvent[];
  /** This page and the earlier ones contain every event of the access_id up to this position, inclusive. */
  readonly through: number;
  /** The last deleted event of the feed, read after the page; the origin if no event is deleted. */
  readonly pruned: Place;
}

/**
 * The events to delete. An event that meets one of the conditions is deleted. The oldest events are deleted
 * first.
 */
export interface PruneRule {
  /** Deletes events up to this position, inclusive. */
  readonly through?: number;
  /** Deletes events recorded before this time, in milliseconds since 1970. */
  readonly recordedBefore?: number;
  /** Deletes events that were recorded longer ago than this, by the clock of the database. */
  readonly maxAgeMs?: number;
  /** Deletes by `maxAgeMs` although the clock of the database has jumped. Default false. */
  readonly trustsClock?: boolean;
  /** Deletes all but this number of latest events of each access_id. */
  readonly keepPerAccessId?: number;
}

/**
 * One history of the log in an engine. Reads return committed events. Every statement proves the newest place
 * that this object has seen, in the statement itself: if the store holds another history now, the statement
 * appends and returns nothing, and the history ends. All positions that pass through this object belong to it.
 */
export interface History {
  readonly lineage: Lineage;
  /** The end of the log when the history was opened. */
  readonly head: Place;
  /**
   * Appends the requests in one transaction and one flush. Make one call at a time. While an answer is
   * pending, the next call is allowed.
   * @throws ERR_STORE_UNAVAILABLE if nothing was appended. A pending answer can also reject with
   *   ERR_OUTCOME_UNKNOWN
   */
  append(requests: readonly AppendRequest[]): Promise<AppendAnswer>;
  bounds(): Promise<Bounds>;
  /** Reads the next page of `accessId` after `position`. */
  readFeed(accessId: string, position: number, limit: PageLimit): Promise<Page>;
  /** Reads the next events of the whole log after `position`. */
  readLog(position: number, limit: PageLimit): Promise<readonly LogEvent[]>;
  /**
   * The last event of these feeds at or before the position `through` (default: the end of the log). If there is
   * none, the last deleted event of them; else the origin.
   */
  lastPlace(accessIds: readonly string[], through?: number): Promise<Place>;
  /** Position of the first event of `accessId` with `created_at >= createdAt`. */
  firstSince(accessId: string, createdAt: number): Promise<number | undefined>;
  /** The last deleted event of these feeds; the origin if no event is deleted. */
  prunedThrough(accessIds: readonly string[]): Promise<Place>;
  /** Returns what the log knows about the place of a cursor, for a reader of these feeds. */
  cursorFacts(accessIds: readonly string[], cursor: Cursor): Promise<CursorFacts>;
  /**
   * Deletes the events that the rule selects, in small steps. Appends run between the steps. Positions and
   * versions do not restart. `signal` ends the work after the current step. Returns the number of deleted
   * events.
   * @throws RetentionRefused if the clock of the database has jumped; other conditions of the rule were applied
   */
  prune(rule: PruneRule, signal?: AbortSignal): Promise<number>;
  /** Calls `listener` once when the store turns out to hold another history. Returns a function that stops it. */
  onEnd(listener: () => void): () => void;
  /** Releases the history. The store stays open. */
  close(): Promise<void>;
}

/** The log in an engine. */
export interface EventStore {
  /** Opens the history that the store holds now. Close the previous one before. */
  open(): Promise<History>;
  /**
   * Calls `wake` when another process may have appended events. The call carries no data. Returns a function
   * that stops it.
   */
  onWake(wake: () => void): () => void;
  close(): Promise<void>;
}
