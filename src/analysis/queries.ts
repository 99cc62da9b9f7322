/**
 * Queries as the rest of the house sees them: each runs in a process of its own, which can be ended at any moment and
 * has so much memory and no more. Bounded in all: how many at once, how long, how many rows and bytes, and how far the
 * write-ahead log of an SQLite file may grow meanwhile.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, LastseenError } from '../errors.ts';
import { type Cancel, type Timers, withTimeout } from '../runtime.ts';
import type { Format } from './format.ts';
import type { Job, JobReply, Query, Source } from './sandbox.ts';

export interface QueryLimits {
  /** At once; one more is refused. */
  readonly queryConcurrency: number;
  readonly queryTimeoutMs: number;
  readonly queryMaxRows: number;
  /** Of the answer. */
  readonly queryMaxBytes: number;
  /** What a query may take beyond what its process has at its start, where the system knows such limits (Linux). */
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
   * Runs a query and gives its answer once it is whole. `signal` ends it: nobody waits any more.
   * @throws ERR_QUERY_INVALID, ERR_QUERY_REFUSED, ERR_QUERY_LIMIT, ERR_QUERY_UNAVAILABLE, ERR_QUEUE_FULL,
   *   ERR_DRAINING, ERR_STORE_UNAVAILABLE
   */
  run(query: Omit<Query, 'timeoutMs'>, format: Format, signal: AbortSignal): Promise<QueryAnswer>;
  /** Running now. */
  readonly running: number;
  /** Ends what runs, and all processes. */
  close(): Promise<void>;
}

/** A process that has nothing to do for so long is let go. */
const IDLE_MS = 30_000;

/** A process that has been asked to end, and has not by then, is killed. */
const KILL_MS = 3_000;

/** A reader pins the write-ahead log: from this size on the longest-running queries must go. */
export const MAX_WAL_BYTES = 512 * 1024 * 1024;
const WATCH_WAL_MS = 250;

/** Less than the server's: pushes and deliveries come first. */
const NICENESS = 10;

/** Time for a process to start; a query's own time begins after it. */
const START_MS = 30_000;

/** Of what a process that dies at its start writes to standard error, for the log. */
const MAX_ERROR_TEXT_CHARACTERS = 4_096;

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
  /** From this size of the write-ahead log on a query that reads is ended. Default `MAX_WAL_BYTES`. */
  readonly maxWalBytes?: number;
}

export function createQueries({
  source,
  limits,
  timers,
  maxWalBytes = MAX_WAL_BYTES,
}: QueriesOptions): Queries {
  const idle: { readonly child: ChildProcess; readonly stopTimer: Cancel }[] = [];
  const rejections = new Set<(error: LastseenError) => void>();
  const processes = new Set<ChildProcess>();
  const starting = new WeakSet<ChildProcess>();
  let running = 0;
  let isClosed = false;
  let reservedBytesOnce: Promise<number> | undefined;

  function start(maxDataBytes?: number): ChildProcess {
    const child = startProcess(source.kind, maxDataBytes);
    processes.add(child);
    starting.add(child);
    child.once('close', () => processes.delete(child));
    return child;
  }

  /**
   * Measures the memory of a process that has started, in one that has no limit and runs no query. The system counts
   * address space that is only reserved, which differs between Node lines by half a gigabyte a thread.
   */
  async function measureReservedBytes(): Promise<number> {
    const child = start();
    try {
      return await whenStarted(child, timers);
    } finally {
      await endProcess(child, timers);
    }
  }

  async function takeProcess(): Promise<ChildProcess> {
    for (let waiting = idle.pop(); waiting !== undefined; waiting = idle.pop()) {
      waiting.stopTimer();
      // It may have been ended from outside meanwhile.
      if (waiting.child.connected) {
        return waiting.child;
      }
    }
    if (process.platform !== 'linux') {
      return start();
    }
    try {
      reservedBytesOnce ??= measureReservedBytes();
      const reservedBytes = await reservedBytesOnce;
      if (isClosed) {
        throw draining();
      }
      return start(reservedBytes + limits.queryMemoryBytes);
    } catch (error) {
      reservedBytesOnce = undefined;
      throw isClosed ? draining() : error;
    }
  }

  function returnProcess(child: ChildProcess): void {
    if (isClosed || !child.connected) {
      child.kill('SIGTERM');
      return;
    }
    const end = (): void => {
      idle.splice(idle.indexOf(entry), 1);
      child.disconnect();
    };
    const entry = { child, stopTimer: timers.after(IDLE_MS, end, { isBackground: true }) };
    idle.push(entry);
  }

  /** While a query reads, what the checkpointer has copied cannot be written over. */
  function watchWal(reject: (error: LastseenError) => void): Cancel {
    if (source.kind !== 'sqlite') {
      return () => undefined;
    }
    const file = `${source.path}-wal`;
    return timers.every(WATCH_WAL_MS, () => {
      const bytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
      if (bytes > maxWalBytes) {
        reject(
          limitReached('the write-ahead log grew too far while the query was reading: ask for less at once'),
        );
      }
    });
  }

  /** Runs the job; the promise is settled when the process is free again, or gone. */
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
          reject(limitReached('nobody waits for the query any more'));
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
            // A process has no other reason to end: what it runs is checked, and what it throws is told.
            reject(limitReached('the query needs more memory than it may have'));
          };
          child.once('close', onClose);
          child.send(job, (error) => {
            if (error !== null) {
              reject(error);
            }
          });
        };
        stopWatch = watchWal(reject);
        if (starting.has(child)) {
          whenStarted(child, timers).then(() => {
            starting.delete(child);
            lowerPriority(child.pid);
            begin();
          }, reject);
        } else {
          begin();
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
      returnProcess(child);
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
          `${limits.queryConcurrency} queries are running, and no more may: try again in a moment`,
        );
      }
      running += 1;
      try {
        return await runJob(
          await takeProcess(),
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
      for (const end of rejections) {
        end(draining());
      }
      for (const { stopTimer } of idle.splice(0)) {
        stopTimer();
      }
      await Promise.all([...processes].map((child) => endProcess(child, timers)));
    },
  };
}

/** What the process itself has told: it is whole, and can be asked again. */
class ReportedError extends Error {
  readonly reported: Error;

  constructor(told: Error) {
    super(told.message);
    this.reported = told;
  }
}

function errorOf(reply: JobReply & { type: 'failed' }): ReportedError {
  // An unexpected failure is logged at the edge, and the user sees its id.
  if (!CODES.includes(reply.code)) {
    return new ReportedError(new Error(reply.message));
  }
  return new ReportedError(
    new LastseenError(reply.code as ErrorCode, reply.message, {
      faults: reply.faults,
    }),
  );
}

/** `maxDataBytes`: of its data segment, as the system counts it; without it there is no limit. */
function startProcess(kind: Source['kind'], maxDataBytes?: number): ChildProcess {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const program = fileURLToPath(new URL(`./runner.${extension}`, import.meta.url));
  const options = {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'] as ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'advanced' as const,
  };
  if (maxDataBytes === undefined) {
    return spawn(process.execPath, [program, kind], options);
  }
  // Memory is bounded by the system: SQLite's own limit is not compiled in, and Node's is for JavaScript only.
  const bounded = `ulimit -d ${Math.ceil(maxDataBytes / 1024)}; exec "$0" "$@"`;
  return spawn('/bin/sh', ['-c', bounded, process.execPath, program, kind], options);
}

/**
 * Waits until a process that was just started can take a job; resolves with the memory that it has then.
 * @throws an unexpected error with what the process wrote when it ended before
 */
async function whenStarted(child: ChildProcess, timers: Timers): Promise<number> {
  let errorText = '';
  const onErrorText = (data: Buffer): void => {
    errorText = (errorText + data.toString()).slice(0, MAX_ERROR_TEXT_CHARACTERS);
  };
  child.stderr?.on('data', onErrorText);
  let onClose: () => void = () => undefined;
  const started = new Promise<number>((resolve, reject) => {
    onClose = () => {
      const end = String(child.signalCode ?? child.exitCode);
      reject(new Error(`the process for queries died at its start (${end}): ${errorText}`));
    };
    child.once('close', onClose);
    child.once('error', reject);
    child.once('message', (reply: JobReply) => {
      if (reply.type === 'ready') {
        resolve(reply.reservedBytes);
      }
    });
  });
  try {
    return await withTimeout(started, {
      timers,
      ms: START_MS,
      onTimeout: () => new Error(`the process for queries did not start within ${START_MS} ms: ${errorText}`),
    });
  } finally {
    child.off('close', onClose).removeAllListeners('message').removeAllListeners('error');
    child.on('error', () => undefined);
    // Read on, so that the process never waits for it.
    child.stderr?.off('data', onErrorText).resume();
  }
}

function lowerPriority(pid: number | undefined): void {
  if (pid === undefined) {
    return;
  }
  try {
    setPriority(pid, NICENESS);
  } catch {
    // It has ended already, which is told elsewhere.
  }
}

async function endProcess(child: ChildProcess, timers: Timers): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  const stopTimer = timers.after(KILL_MS, () => child.kill('SIGKILL'));
  await closed;
  stopTimer();
}

function limitReached(message: string): LastseenError {
  return new LastseenError('ERR_QUERY_LIMIT', message);
}

function draining(): LastseenError {
  return new LastseenError('ERR_DRAINING', 'the server is shutting down: come back later');
}
