/** A query, the sandbox of an engine that runs it, and the messages between the server and a query process. */
import type { InputFault } from '../errors.ts';
import type { Access } from './contract.ts';
import type { Cell, Format } from './format.ts';

/** Values for $1, $2, …. */
export type Parameter = string | number | boolean | null;

/** A query, and what it may read. */
export interface Query {
  readonly sql: string;
  readonly params: readonly Parameter[];
  readonly access: Access;
  readonly timeoutMs: number;
}

/** Where the rows of a result go. */
export interface RowSink {
  /** Called once, before the rows. */
  columns(names: readonly string[]): void;
  /** Returns false when it takes no more rows. */
  row(cells: readonly Cell[]): boolean;
}

export interface Sandbox {
  /**
   * Runs the query until its end, or until the sink takes no more rows. One query at a time.
   * @throws ERR_QUERY_INVALID, ERR_QUERY_REFUSED, ERR_QUERY_LIMIT, ERR_QUERY_UNAVAILABLE, ERR_STORE_UNAVAILABLE
   */
  run(query: Query, sink: RowSink): Promise<void>;
  /** Cancels the query at the database server, if it would run on after this process has ended. */
  cancel(): Promise<void>;
}

/** Where the events are. */
export type Source =
  | { readonly kind: 'sqlite'; readonly path: string }
  /** The URL may contain a password: never log it. */
  | { readonly kind: 'postgres'; readonly url: string };

/** What the server sends to a query process. */
export interface Job {
  readonly source: Source;
  readonly query: Query;
  readonly format: Format;
  readonly maxRows: number;
  readonly maxBytes: number;
}

/**
 * What a query process sends: first `ready`, with the bytes of data that it has then, as the system counts them (Linux;
 * else 0). Then for each job pieces of the body, and `done` or `failed`.
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
