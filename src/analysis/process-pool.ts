/**
 * The processes that run queries: started when there is a query, each for one query at a time, and kept for a while after
 * it. On Linux the system limits their memory.
 */
import type { ChildProcess } from 'node:child_process';
import { LastseenError } from '../errors.ts';
import type { Cancel, Timers } from '../runtime.ts';
import { endProcess, lowerPriority, startProcess, whenStarted } from './process.ts';
import type { Source } from './sandbox.ts';

/** A process without a query for so long is ended. */
const IDLE_MS = 30_000;

export interface ProcessPool {
  /** A process for one query, which may still be starting. @throws ERR_DRAINING */
  take(): Promise<ChildProcess>;
  /** Resolves when a new process can take its first query; `undefined` if it can already. */
  whenReady(child: ChildProcess): Promise<void> | undefined;
  /** Keeps the process for the next query, or ends it if it cannot serve one. */
  giveBack(child: ChildProcess): void;
  /** Ends all processes, and resolves when they have exited. */
  close(): Promise<void>;
}

export interface ProcessPoolOptions {
  readonly kind: Source['kind'];
  readonly timers: Timers;
  /** What a query may use beyond what its process has at its start. */
  readonly memoryBytes: number;
}

export function createProcessPool({ kind, timers, memoryBytes }: ProcessPoolOptions): ProcessPool {
  const idle: { readonly child: ChildProcess; readonly stopTimer: Cancel }[] = [];
  const all = new Set<ChildProcess>();
  const starting = new WeakSet<ChildProcess>();
  let isClosed = false;
  let reservedBytesOnce: Promise<number> | undefined;

  function start(maxDataBytes?: number): ChildProcess {
    const child = startProcess(kind, maxDataBytes);
    all.add(child);
    starting.add(child);
    child.once('close', () => all.delete(child));
    return child;
  }

  /**
   * Measures the memory that a process has after its start, in one without a limit and without a query. The system also
   * counts address space that is only reserved: between Node lines it differs by half a gigabyte a thread.
   */
  async function measureReservedBytes(): Promise<number> {
    const child = start();
    try {
      return await whenStarted(child, timers);
    } finally {
      await endProcess(child, timers);
    }
  }

  return {
    async take() {
      for (let kept = idle.pop(); kept !== undefined; kept = idle.pop()) {
        kept.stopTimer();
        // Something outside the server may have ended it.
        if (kept.child.connected) {
          return kept.child;
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
        return start(reservedBytes + memoryBytes);
      } catch (error) {
        reservedBytesOnce = undefined;
        throw isClosed ? draining() : error;
      }
    },
    whenReady(child) {
      if (!starting.has(child)) {
        return undefined;
      }
      return whenStarted(child, timers).then(() => {
        starting.delete(child);
        lowerPriority(child.pid);
      });
    },
    giveBack(child) {
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
    },
    async close() {
      isClosed = true;
      for (const { stopTimer } of idle.splice(0)) {
        stopTimer();
      }
      await Promise.all([...all].map((child) => endProcess(child, timers)));
    },
  };
}

export function draining(): LastseenError {
  return new LastseenError('ERR_DRAINING', 'the server is shutting down: retry later');
}
