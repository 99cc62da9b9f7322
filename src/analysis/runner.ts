/**
 * The process that runs queries, one at a time: started by `queries.ts`, and ended by it when a query takes too long or
 * nobody waits for it any more. A process and not a thread, since a thread inside SQLite cannot be stopped.
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

const WATCH_MS = 500;

let sandbox: Sandbox | undefined;

function send(reply: JobReply): void {
  process.send?.(reply);
}

/** A process serves one kind of store only. All that it ever loads is there before it says that it is ready. */
async function prepare(kind: string | undefined): Promise<void> {
  if (kind === 'sqlite') {
    // Without a listener SIGTERM ends a process that is deep inside SQLite; with one it would have to wait.
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

  await sandbox.run(
    query,
    (columns) => {
      encoder = createEncoder(format, columns);
      pending = encoder.head;
    },
    (cells) => {
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
  );
  pending += encoder.tail(isTruncated);
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

/** What RLIMIT_DATA counts: all memory that can be written, reserved address space included. */
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

/** A thread beside SQLite: when the server is gone, nobody ends a statement that has no end. */
async function watchParent(): Promise<void> {
  const program = `setInterval(() => { if (process.ppid !== ${process.ppid}) process.kill(process.pid, 'SIGKILL'); }, ${WATCH_MS});`;
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
