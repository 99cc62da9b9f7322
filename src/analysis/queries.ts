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
import type { Job, JobReply, Question, Source } from './sandbox.ts';

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

export interface Answer {
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
  ask(question: Omit<Question, 'timeoutMs'>, format: Format, signal: AbortSignal): Promise<Answer>;
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
const MAX_COMPLAINT_BYTES = 4_096;

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
  const ends = new Set<(error: LastseenError) => void>();
  const alive = new Set<ChildProcess>();
  const starting = new WeakSet<ChildProcess>();
  let running = 0;
  let isClosed = false;
  let measured: Promise<number> | undefined;

  function start(maxDataBytes?: number): ChildProcess {
    const child = startProcess(source.kind, maxDataBytes);
    alive.add(child);
    starting.add(child);
    child.once('close', () => alive.delete(child));
    return child;
  }

  /**
   * Measures the memory of a process that has started, in one that has no limit and runs no query. The system counts
   * address space that is only reserved, which differs between Node lines by half a gigabyte a thread.
   */
  async function measure(): Promise<number> {
    const child = start();
    try {
      return await startedProcess(child, timers);
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
      measured ??= measure();
      const reservedBytes = await measured;
      if (isClosed) {
        throw draining();
      }
      return start(reservedBytes + limits.queryMemoryBytes);
    } catch (error) {
      measured = undefined;
      throw isClosed ? draining() : error;
    }
  }

  function giveBack(child: ChildProcess): void {
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
        reject(limit('the write-ahead log grew too far while the query was reading: ask for less at once'));
      }
    });
  }

  /** Runs the job; the promise is settled when the process is free again, or gone. */
  async function run(child: ChildProcess, job: Job, signal: AbortSignal): Promise<Answer> {
    const body: Uint8Array[] = [];
    let stopTimer: Cancel = () => undefined;
    let stopWatch: Cancel = () => undefined;
    let onAbort: () => void = () => undefined;
    let onClose: () => void = () => undefined;
    let end: (error: LastseenError) => void = () => undefined;
    try {
      const answer = await new Promise<Answer>((resolve, reject) => {
        end = reject;
        ends.add(end);
        if (isClosed) {
          end(draining());
        }
        onAbort = () => {
          reject(limit('nobody waits for the query any more'));
        };
        signal.addEventListener('abort', onAbort);
        if (signal.aborted) {
          onAbort();
        }
        const begin = (): void => {
          stopTimer = timers.after(limits.queryTimeoutMs, () => {
            reject(limit(`the query ran longer than ${limits.queryTimeoutMs} ms`));
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
            reject(limit('the query needs more memory than it may have'));
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
          startedProcess(child, timers).then(() => {
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
      if (!(error instanceof ToldByProcess)) {
        await endProcess(child, timers);
      }
      throw error instanceof ToldByProcess ? error.told : error;
    } finally {
      ends.delete(end);
      stopTimer();
      stopWatch();
      signal.removeEventListener('abort', onAbort);
      child
        .off('close', onClose)
        .removeAllListeners('message')
        .removeAllListeners('error')
        .on('error', () => undefined);
      giveBack(child);
    }
  }

  return {
    async ask(question, format, signal) {
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
        return await run(
          await takeProcess(),
          {
            source,
            question: { ...question, timeoutMs: limits.queryTimeoutMs },
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
      for (const end of ends) {
        end(draining());
      }
      for (const { stopTimer } of idle.splice(0)) {
        stopTimer();
      }
      await Promise.all([...alive].map((child) => endProcess(child, timers)));
    },
  };
}

/** What the process itself has told: it is whole, and can be asked again. */
class ToldByProcess extends Error {
  readonly told: Error;

  constructor(told: Error) {
    super(told.message);
    this.told = told;
  }
}

function errorOf(reply: JobReply & { type: 'failed' }): ToldByProcess {
  // An unexpected failure is logged at the edge, and the user sees its id.
  if (!CODES.includes(reply.code)) {
    return new ToldByProcess(new Error(reply.message));
  }
  return new ToldByProcess(
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
async function startedProcess(child: ChildProcess, timers: Timers): Promise<number> {
  let complaint = '';
  const onComplaint = (data: Buffer): void => {
    complaint = (complaint + data.toString()).slice(0, MAX_COMPLAINT_BYTES);
  };
  child.stderr?.on('data', onComplaint);
  let onClose: () => void = () => undefined;
  const started = new Promise<number>((resolve, reject) => {
    onClose = () => {
      const end = String(child.signalCode ?? child.exitCode);
      reject(new Error(`the process for queries died at its start (${end}): ${complaint}`));
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
      onTimeout: () => new Error(`the process for queries did not start within ${START_MS} ms: ${complaint}`),
    });
  } finally {
    child.off('close', onClose).removeAllListeners('message').removeAllListeners('error');
    child.on('error', () => undefined);
    // Read on, so that the process never waits for it.
    child.stderr?.off('data', onComplaint).resume();
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

function limit(message: string): LastseenError {
  return new LastseenError('ERR_QUERY_LIMIT', message);
}

function draining(): LastseenError {
  return new LastseenError('ERR_DRAINING', 'the server is shutting down: come back later');
}
