/** What the main thread and the writer thread of the SQLite engine say to each other. */
import type { AppendRequest } from '../log/store.ts';

export type WriterMessage =
  | { readonly type: 'append'; readonly requests: readonly AppendRequest[] }
  | { readonly type: 'prune'; readonly position: number }
  | { readonly type: 'restart-wal' }
  | { readonly type: 'close' };

/** What became of one request; `index` is −1 when the batch's key, not one of its events, is in conflict. */
export type WriterOutcome =
  | { readonly positions: number[]; readonly versions: number[]; readonly isDuplicate: boolean[] }
  | { readonly conflict: { readonly index: number } }
  | { readonly failed: string };

export type WriterReply =
  | { readonly type: 'ready'; readonly head: number }
  | {
      readonly type: 'appended';
      readonly recordedAt: number;
      readonly outcomes: readonly WriterOutcome[];
      readonly head: number;
    }
  /** A flush of the index begins with everything appended so far. */
  | { readonly type: 'frozen' }
  /** That flush is on disk, up to here. */
  | { readonly type: 'indexed'; readonly through: number }
  | { readonly type: 'pruned'; readonly failed?: string }
  | { readonly type: 'closed' };
