/**
 * The port behind which an engine keeps the log. An engine promises: appends are atomic per request and durable
 * when acknowledged (G1, G4), positions and versions have no holes and follow commit order (G2), ids are unique
 * within their access_id (G5), and whatever a read reports as covered will never gain an event later.
 */
import type { LastseenError } from '../errors.ts';
import type { Event, NewEvent } from './event.ts';

/** A row that is written in the same transaction as the events that tell of it. Made by the engine, opaque to others. */
export interface RowChange {
  readonly sql: string;
  readonly bindings: readonly unknown[];
  /** How many rows it must change, or the request is refused whole. */
  readonly rows?: number;
}

/** One caller's batch: appended whole or not at all. */
export interface AppendRequest {
  readonly events: readonly NewEvent[];
  /** Makes the batch repeatable: same key and fingerprint is acknowledged again, another fingerprint refused. */
  readonly key: { readonly value: string; readonly fingerprint: string } | null;
  /** Written with the events, or not at all. */
  readonly rows?: readonly RowChange[];
}

/** Where an event of a batch stands in the log. */
export interface Receipt {
  readonly position: number;
  readonly version: number;
  /** True when the event was there already; position and version are the first ones. */
  readonly duplicate: boolean;
}

/** What became of one request: its receipts in the order sent, or the reason why nothing of it was appended. */
export type AppendOutcome = { readonly receipts: readonly Receipt[] } | { readonly refused: LastseenError };

/** What one commit did: an outcome per request, in order. */
export interface AppendResult {
  readonly recordedAt: number;
  readonly outcomes: readonly AppendOutcome[];
}

/** What an append becomes: its result, or, when the store was lost while it committed, a promise of it. */
export type AppendAnswer = AppendResult | { readonly pending: Promise<AppendResult> };

/** The ends of the retained log. Empty: `floor` is `head + 1`. */
export interface Bounds {
  /** Changes when the log is restored or reset: 8 characters. */
  readonly epoch: string;
  /** Lowest position retained. */
  readonly floor: number;
  /** Highest position committed; 0 in a new log. */
  readonly head: number;
}

/** How much to read at most. A page holds at least one event, however large, if there is one. */
export interface PageLimit {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

/** Events of one access_id, ascending. */
export interface Page {
  readonly events: readonly Event[];
  /** Every event of the access_id up to and including this position is in this page or before it. */
  readonly through: number;
  /** Position of the feed's last event that is gone, known after the page was read: 0 if it has them all. */
  readonly prunedThrough: number;
}

/** What may be forgotten: each condition that is given is enough by itself. Events are forgotten oldest first. */
export interface PruneRule {
  /** Events up to and including this position. */
  readonly through?: number;
  /** Events recorded before this time, milliseconds since 1970. */
  readonly recordedBefore?: number;
  /** All but so many of the latest events of each access_id. */
  readonly keepPerAccessId?: number;
}

/** The log as an engine keeps it. All reads see committed events only. */
export interface EventStore {
  /**
   * Appends all requests in one transaction and one flush. One call at a time; while an answer is pending the next call
   * may be made. @throws ERR_STORE_UNAVAILABLE: nothing was appended; what is pending also ERR_OUTCOME_UNKNOWN
   */
  append(requests: readonly AppendRequest[]): Promise<AppendAnswer>;
  bounds(): Promise<Bounds>;
  /** The next page of `accessId` after `position`. */
  readFeed(accessId: string, position: number, limit: PageLimit): Promise<Page>;
  /** The next events of the whole log after `position`. */
  readLog(position: number, limit: PageLimit): Promise<readonly Event[]>;
  /** Position of the last event of `accessId`, 0 if it never had one. */
  lastPosition(accessId: string): Promise<number>;
  /** The position before the first event of `accessId` with `created_at >= createdAt`; the head if there is none. */
  positionBefore(accessId: string, createdAt: number): Promise<number>;
  /** Position of the last event of `accessId` that was forgotten; 0 if it has all its events. */
  prunedThrough(accessId: string): Promise<number>;
  /**
   * Forgets what the rule gives up, in small steps between which appends get their turn. Positions and versions
   * never restart. Returns the number of events forgotten.
   */
  prune(rule: PruneRule): Promise<number>;
  /** Calls `wake` when others may have appended: a hint without data. Returns how to stop. */
  onWake(wake: () => void): () => void;
  /** Calls `reset` when the log was replaced by another while it was open (a restore). Returns how to stop. */
  onReset(reset: () => void): () => void;
  close(): Promise<void>;
}
