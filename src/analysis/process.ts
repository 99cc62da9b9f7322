/** Processes that run queries: how they start, are limited, and end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Timers, withTimeout } from '../runtime.ts';
import type { JobReply, Source } from './sandbox.ts';

/** Time for a process to start; the time limit of a query begins after it. */
const START_MS = 30_000;

/** A process that does not end within this time after SIGTERM is killed. */
const KILL_MS = 3_000;

const NICENESS = 10;

/** Kept from the standard error of a process that fails to start, for the server's log. */
const MAX_ERROR_TEXT_CHARACTERS = 4_096;

/** Starts a process for queries. `maxDataBytes` limits its data segment, as the system counts it. */
export function startProcess(kind: Source['kind'], maxDataBytes?: number): ChildProcess {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const program = fileURLToPath(new URL(`./runner.${extension}`, import.meta.url));
  const options = {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'] as ['ignore', 'ignore', 'pipe', 'ipc'],
    serialization: 'advanced' as const,
  };
  if (maxDataBytes === undefined) {
    return spawn(process.execPath, [program, kind], options);
  }
  // The system limits the memory: SQLite is compiled without a limit of its own, and Node's concerns JavaScript only.
  const bounded = `ulimit -d ${Math.ceil(maxDataBytes / 1024)}; exec "$0" "$@"`;
  return spawn('/bin/sh', ['-c', bounded, process.execPath, program, kind], options);
}

/**
 * Waits until a new process can take a job. Resolves with the bytes of data that it has then.
 * @throws an unexpected error with the standard error of the process, if it exits before or takes longer than 30 s
 */
export async function whenStarted(child: ChildProcess, timers: Timers): Promise<number> {
  let errorText = '';
  const onErrorText = (data: Buffer): void => {
    errorText = (errorText + data.toString()).slice(0, MAX_ERROR_TEXT_CHARACTERS);
  };
  child.stderr?.on('data', onErrorText);
  let onClose: () => void = () => undefined;
  const started = new Promise<number>((resolve, reject) => {
    onClose = () => {
      const status = String(child.signalCode ?? child.exitCode);
      reject(new Error(`the process for queries exited at its start (${status}): ${errorText}`));
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
    // Reading continues, so that a full pipe does not stop the process.
    child.stderr?.off('data', onErrorText).resume();
  }
}

/** Gives the process a lower priority than the server, so that pushes and deliveries come first. */
export function lowerPriority(pid: number | undefined): void {
  if (pid === undefined) {
    return;
  }
  try {
    setPriority(pid, NICENESS);
  } catch {
    // The process has exited, which its `close` event reports.
  }
}

/** Ends the process, after 3 s by SIGKILL, and resolves when it has exited. */
export async function endProcess(child: ChildProcess, timers: Timers): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  const stopTimer = timers.after(KILL_MS, () => child.kill('SIGKILL'));
  await closed;
  stopTimer();
}
