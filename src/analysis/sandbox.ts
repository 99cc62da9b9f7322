/** What the process that runs queries asks of an engine's sandbox, and what it is told. */
import type { InputFault } from '../errors.ts';
import type { Access } from './contract.ts';
import type { Cell, Format } from './format.ts';

/** Values for $1, $2, …. */
export type Parameter = string | number | boolean | null;

/** One query, and what it may see. */
export interface Query {
  readonly sql: string;
  readonly params: readonly Parameter[];
  readonly access: Access;
  readonly timeoutMs: number;
}

export interface Sandbox {
  /**
   * Runs the query to its end, or until `onRow` answers false. One at a time.
   * @throws ERR_QUERY_INVALID, ERR_QUERY_REFUSED, ERR_QUERY_LIMIT, ERR_QUERY_UNAVAILABLE, ERR_STORE_UNAVAILABLE
   */
  run(
    query: Query,
    onColumns: (columns: readonly string[]) => void,
    onRow: (cells: readonly Cell[]) => boolean,
  ): Promise<void>;
  /** Ends what runs at the server, as far as this process dying would not. */
  cancel(): Promise<void>;
}

/** Where the events are. */
export type Source =
  | { readonly kind: 'sqlite'; readonly path: string }
  /** The URL may hold a password: never shown. */
  | { readonly kind: 'postgres'; readonly url: string };

/** What a process is asked to do. */
export interface Job {
  readonly source: Source;
  readonly query: Query;
  readonly format: Format;
  readonly maxRows: number;
  readonly maxBytes: number;
}

/**
 * What it says: that it has started, and the bytes of data that it has then as the system counts them (Linux; else 0);
 * then, to each job, pieces of the body and one of the last two.
 */
export type JobReply =
  | { readonly type: 'ready'; readonly reservedBytes: number }
  | { readonly type: 'piece'; readonly bytes: Uint8Array }
  | { readonly type: 'done'; readonly rows: number; readonly isTruncated: boolean }
  | {
      readonly type: 'failed';
      readonly code: string;
      readonly message: string;
      readonly faults: readonly InputFault[];
    };
