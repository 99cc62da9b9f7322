/**
 * Queries as gateways use them. Each runs in a process of its own, which the server can end at any moment. Bounded are
 * the number of queries at once, the time, memory, rows and bytes of each, and the size of the write-ahead log of an
 * SQLite file while a query reads it.
 */
import type { ChildProcess } from 'node:child_process';
import { statSync } from 'node:fs';
import { type ErrorCode, LastseenError } from '../errors.ts';
import type { Cancel, Timers } from '../runtime.ts';
import type { Format } from './format.ts';
import { endProcess } from './process.ts';
import { createProcessPool, draining } from './process-pool.ts';
import type { Job, JobReply, Query, Source } from './sandbox.ts';

export interface QueryLimits {
  /** Queries at once; the server refuses one more. */
  readonly queryConcurrency: number;
  readonly queryTimeoutMs: number;
  readonly queryMaxRows: number;
  /** Of the answer. */
  readonly queryMaxBytes: number;
  /** Memory that a query may use beyond what its process has at its start. Linux only. */
  readonly queryMemoryBytes: number;
}

export interface QueryAnswer {
  /** The whole body, in pieces. */
  readonly body: readonly Uint8Array[];
  readonly rows: number;
  readonly isTruncated: boolean;
}

export interface Queries {
  /**
   * Runs a query and resolves with its complete answer. Aborting `signal` ends the query.
   * @throws ERR_QUERY_INVALID, ERR_QUERY_REFUSED, ERR_QUERY_LIMIT, ERR_QUERY_UNAVAILABLE, ERR_QUEUE_FULL,
   *   ERR_DRAINING, ERR_STORE_UNAVAILABLE
   */
  run(query: Omit<Query, 'timeoutMs'>, format: Format, signal: AbortSignal): Promise<QueryAnswer>;
  /** Number of queries that run now. */
  readonly running: number;
  /** Ends all queries and their processes. */
  close(): Promise<void>;
}

/** A query that reads pins the write-ahead log: beyond this size of the log the server ends the query. */
export const MAX_WAL_BYTES = 512 * 1024 * 1024;
const WATCH_WAL_MS = 250;

/** The expected errors of a query process. Others are unexpected, and logged at the edge. */
const CODES: readonly string[] = [
  'ERR_QUERY_INVALID',
  'ERR_QUERY_REFUSED',
  'ERR_QUERY_LIMIT',
  'ERR_QUERY_UNAVAILABLE',
  'ERR_STORE_UNAVAILABLE',
] satisfies ErrorCode[];

export interface QueriesOptions {
  readonly source: Source;
  readonly limits: QueryLimits;
  readonly timers: Timers;
  /** Size of the write-ahead log at which a query is ended. Default `MAX_WAL_BYTES`. */
  readonly maxWalBytes?: number;
}

export function createQueries({
  source,
  limits,
  timers,
  maxWalBytes = MAX_WAL_BYTES,
}: QueriesOptions): Queries {
  const pool = createProcessPool({ kind: source.kind, timers, memoryBytes: limits.queryMemoryBytes });
  const rejections = new Set<(error: LastseenError) => void>();
  let running = 0;
  let isClosed = false;

  /** While a query reads, SQLite cannot reuse the pages of the log that a checkpoint has copied. */
  function watchWal(reject: (error: LastseenError) => void): Cancel {
    if (source.kind !== 'sqlite') {
      return () => undefined;
    }
    const file = `${source.path}-wal`;
    return timers.every(WATCH_WAL_MS, () => {
      const bytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
      if (bytes > maxWalBytes) {
        reject(
          limitReached('the write-ahead log grew too large while the query was reading: read less at once'),
        );
      }
    });
  }

  /** Runs a job. The promise is settled when the process is free again, or has been ended. */
  async function runJob(child: ChildProcess, job: Job, signal: AbortSignal): Promise<QueryAnswer> {
    const body: Uint8Array[] = [];
    let stopTimer: Cancel = () => undefined;
    let stopWatch: Cancel = () => undefined;
    let onAbort: () => void = () => undefined;
    let onClose: () => void = () => undefined;
    let end: (error: LastseenError) => void = () => undefined;
    try {
      const answer = await new Promise<QueryAnswer>((resolve, reject) => {
        end = reject;
        rejections.add(end);
        if (isClosed) {
          end(draining());
        }
        onAbort = () => {
          reject(limitReached('the client has closed its connection'));
        };
        signal.addEventListener('abort', onAbort);
        if (signal.aborted) {
          onAbort();
        }
        const begin = (): void => {
          stopTimer = timers.after(limits.queryTimeoutMs, () => {
            reject(limitReached(`the query ran longer than ${limits.queryTimeoutMs} ms`));
          });
          child.on('message', (reply: JobReply) => {
            if (reply.type === 'piece') {
              body.push(reply.bytes);
            } else if (reply.type === 'done') {
              resolve({ body, rows: reply.rows, isTruncated: reply.isTruncated });
            } else if (reply.type === 'failed') {
              reject(errorOf(reply));
            }
          });
          child.once('error', reject);
          onClose = () => {
            // A process reports every error, so it has no other reason to exit.
            reject(limitReached('the query needs more memory than its limit'));
          };
          child.once('close', onClose);
          child.send(job, (error) => {
            if (error !== null) {
              reject(error);
            }
          });
        };
        stopWatch = watchWal(reject);
        const ready = pool.whenReady(child);
        if (ready === undefined) {
          begin();
        } else {
          ready.then(begin, reject);
        }
      });
      return answer;
    } catch (error) {
      if (!(error instanceof ReportedError)) {
        await endProcess(child, timers);
      }
      throw error instanceof ReportedError ? error.reported : error;
    } finally {
      rejections.delete(end);
      stopTimer();
      stopWatch();
      signal.removeEventListener('abort', onAbort);
      child
        .off('close', onClose)
        .removeAllListeners('message')
        .removeAllListeners('error')
        .on('error', () => undefined);
      pool.giveBack(child);
    }
  }

  return {
    async run(query, format, signal) {
      if (isClosed) {
        throw draining();
      }
      if (running >= limits.queryConcurrency) {
        throw new LastseenError(
          'ERR_QUEUE_FULL',
          `${limits.queryConcurrency} queries are running, which is the limit: retry later`,
        );
      }
      running += 1;
      try {
        return await runJob(
          await pool.take(),
          {
            source,
            query: { ...query, timeoutMs: limits.queryTimeoutMs },
            format,
            maxRows: limits.queryMaxRows,
            maxBytes: limits.queryMaxBytes,
          },
          signal,
        );
      } finally {
        running -= 1;
      }
    },
    get running() {
      return running;
    },
    async close() {
      isClosed = true;
      for (const reject of rejections) {
        reject(draining());
      }
      await pool.close();
    },
  };
}

/** An error that the process itself has reported: the process can run another query. */
class ReportedError extends Error {
  readonly reported: Error;

  constructor(reported: Error) {
    super(reported.message);
    this.reported = reported;
  }
}

function errorOf(reply: JobReply & { type: 'failed' }): ReportedError {
  if (!CODES.includes(reply.code)) {
    return new ReportedError(new Error(reply.message));
  }
  return new ReportedError(
    new LastseenError(reply.code as ErrorCode, reply.message, {
      faults: reply.faults,
    }),
  );
}

function limitReached(message: string): LastseenError {
  return new LastseenError('ERR_QUERY_LIMIT', message);
}
