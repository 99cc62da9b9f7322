/** Messages between the main thread and the threads of the SQLite engine. */
import type { PruneRule } from '../../log/store.ts';
import type { AppendColumns, ReceiptColumns } from '../group.ts';

export type WriterMessage =
  | { readonly type: 'append'; readonly columns: AppendColumns }
  /** `now` is the time of the process that prunes. */
  | { readonly type: 'prune'; readonly rule: PruneRule; readonly now: number }
  | { readonly type: 'stop-pruning' }
  | { readonly type: 'restart-wal' }
  | { readonly type: 'close' };

/** The events that the index on disk does not reach, in columns, in order. */
export interface UnindexedColumns {
  readonly positions: number[];
  readonly accessIds: string[];
  readonly createdAts: number[];
}

export type WriterReply =
  | {
      readonly type: 'ready';
      readonly head: number;
      /** The index on disk reaches so far. */
      readonly indexed: number;
      readonly unindexed: UnindexedColumns;
    }
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
  | { readonly type: 'pruned'; readonly pruned: number; readonly failed?: string; readonly refused?: string }
  /** A failure that no caller awaits. */
  | { readonly type: 'fault'; readonly message: string }
  | { readonly type: 'notice'; readonly message: string }
  /** The file cannot be trusted or written any more: the process must end. */
  | { readonly type: 'fatal'; readonly message: string }
  | { readonly type: 'closed' };

export type CheckpointerReply =
  | { readonly type: 'restart-wal' }
  | { readonly type: 'wal'; readonly pinnedMs: number }
  | { readonly type: 'notice'; readonly message: string }
  | { readonly type: 'fault'; readonly message: string };
