/** What the main thread and the writer thread of the SQLite engine say to each other. */
import type { AppendRequest, PruneRule, RowChange } from '../../log/store.ts';

/**
 * The requests of a group, their events one after the other in columns: arrays of scalars cross between threads at a
 * fraction of the cost of objects.
 */
export interface AppendColumns {
  /** Number of events of each request. */
  readonly counts: number[];
  readonly keys: AppendRequest['key'][];
  /** Rows that requests write, by the place of the request. */
  readonly rows: Map<number, readonly RowChange[]>;
  readonly accessIds: string[];
  readonly createdAts: (number | null)[];
  readonly ids: (string | null)[];
  readonly payloads: string[];
}

/** Why a request was refused; `index` is −1 when the batch's key, not one of its events, is in conflict. */
export type Refusal =
  | { readonly conflict: { readonly index: number } }
  | { readonly changed: true }
  | { readonly failed: string };

/** What became of a group: receipts of every event, in the columns' order (zeros where the request was refused). */
export interface ReceiptColumns {
  readonly positions: Float64Array;
  readonly versions: Float64Array;
  readonly isDuplicate: Uint8Array;
  /** By the place of the request in the group. */
  readonly refusals: ReadonlyMap<number, Refusal>;
}

export type WriterMessage =
  | { readonly type: 'append'; readonly columns: AppendColumns }
  | { readonly type: 'prune'; readonly rule: PruneRule }
  | { readonly type: 'restart-wal' }
  | { readonly type: 'close' };

export type WriterReply =
  | { readonly type: 'ready'; readonly head: number }
  | {
      readonly type: 'appended';
      readonly recordedAt: number;
      readonly receipts: ReceiptColumns;
      readonly head: number;
    }
  /** A flush of the index begins with everything appended so far. */
  | { readonly type: 'frozen' }
  /** That flush is on disk, up to here. */
  | { readonly type: 'indexed'; readonly through: number }
  | { readonly type: 'pruned'; readonly forgotten: number; readonly failed?: string }
  | { readonly type: 'closed' };

export function columnsOf(requests: readonly AppendRequest[]): AppendColumns {
  const columns: AppendColumns = {
    counts: [],
    keys: [],
    rows: new Map(),
    accessIds: [],
    createdAts: [],
    ids: [],
    payloads: [],
  };
  for (const [at, { events, key, rows }] of requests.entries()) {
    if (rows !== undefined) {
      columns.rows.set(at, rows);
    }
    columns.counts.push(events.length);
    columns.keys.push(key);
    for (const event of events) {
      columns.accessIds.push(event.accessId);
      columns.createdAts.push(event.createdAt);
      columns.ids.push(event.id);
      columns.payloads.push(event.payload);
    }
  }
  return columns;
}
