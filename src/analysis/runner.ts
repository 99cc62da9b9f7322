/**
 * The program of the processes that run queries, one at a time. The server ends the process when a query takes too long or
 * its client has left. It is a process because a thread inside SQLite cannot be stopped. It is a composition root: it
 * takes the real random numbers.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { LastseenError } from '../errors.ts';
import { systemRuntime } from '../system-runtime.ts';
import { createEncoder } from './format.ts';
import { postgresSandbox } from './postgres/sandbox.ts';
import type { Job, JobReply, Sandbox, Source } from './sandbox.ts';
import { loadSqlite, sqliteSandbox } from './sqlite/sandbox.ts';

const PIECE_BYTES = 256 * 1024;

const WATCH_PARENT_MS = 500;

let sandbox: Sandbox | undefined;

function send(reply: JobReply): void {
  process.send?.(reply);
}

/** Loads what queries need before the process reports that it is ready: its memory is measured then. */
async function prepare(kind: string | undefined): Promise<void> {
  if (kind === 'sqlite') {
    // No listener for SIGTERM: the signal must end the process while it is inside SQLite.
    loadSqlite();
    await watchParent();
  } else {
    process.on('SIGTERM', exitAfterCancel);
  }
}

function open(source: Source): Sandbox {
  return source.kind === 'sqlite'
    ? sqliteSandbox(source.path, systemRuntime.random)
    : postgresSandbox(source.url);
}

async function runJob({ source, query, format, maxRows, maxBytes }: Job): Promise<void> {
  sandbox ??= open(source);
  let encoder = createEncoder(format, []);
  let pending = '';
  let bytes = 0;
  let rows = 0;
  let isTruncated = false;

  const flush = (): void => {
    if (pending !== '') {
      send({ type: 'piece', bytes: Buffer.from(pending) });
    }
    pending = '';
  };

  await sandbox.run(query, {
    columns(names) {
      encoder = createEncoder(format, names);
      pending = encoder.head;
    },
    row(cells) {
      if (rows >= maxRows) {
        isTruncated = true;
      }
      if (isTruncated) {
        return false;
      }
      const text = encoder.row(cells);
      const size = Buffer.byteLength(text);
      if (bytes + size > maxBytes) {
        isTruncated = true;
      }
      if (isTruncated) {
        return false;
      }
      bytes += size;
      rows += 1;
      pending += text;
      if (pending.length >= PIECE_BYTES) {
        flush();
      }
      return true;
    },
  });
  pending += encoder.tail({ isTruncated });
  flush();
  send({ type: 'done', rows, isTruncated });
}

process.on('message', (job: Job) => {
  runJob(job).catch((error: unknown) => {
    const expected = error instanceof LastseenError ? error : undefined;
    send({
      type: 'failed',
      code: expected?.code ?? 'ERR_INTERNAL',
      message: expected?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error)),
      faults: expected?.faults ?? [],
    });
  });
});
process.on('disconnect', exitAfterCancel);
await prepare(process.argv[2]);
send({ type: 'ready', reservedBytes: dataBytes() });

/** Bytes as RLIMIT_DATA counts them: all writable memory, reserved address space included. */
function dataBytes(): number {
  if (process.platform !== 'linux') {
    return 0;
  }
  const kib = /^VmData:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  if (kib === undefined) {
    throw new Error('/proc/self/status has no VmData');
  }
  return Number(kib) * 1024;
}

/** Kills the process when the server has died: a thread checks, since a statement inside SQLite may have no end. */
async function watchParent(): Promise<void> {
  const program = `setInterval(() => { if (process.ppid !== ${process.ppid}) process.kill(process.pid, 'SIGKILL'); }, ${WATCH_PARENT_MS});`;
  const watcher = new Worker(program, { eval: true, resourceLimits: { maxOldGenerationSizeMb: 8 } });
  await once(watcher, 'online');
  watcher.unref();
}

function exitAfterCancel(): void {
  const ended = sandbox?.cancel() ?? Promise.resolve();
  void ended
    .catch(() => undefined)
    .then(() => {
      process.exit(0);
    });
}
