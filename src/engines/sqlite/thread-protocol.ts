/** Messages between the main thread and the writer thread of the SQLite engine. */
import type { PruneRule } from '../../log/store.ts';
import type { AppendColumns, ReceiptColumns } from '../group.ts';

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
  | { readonly type: 'pruned'; readonly pruned: number; readonly failed?: string }
  | { readonly type: 'closed' };
