/**
 * The process that runs queries, one at a time: started by `queries.ts`, and ended by it when a query takes too long or
 * nobody waits for it any more. A process and not a thread, since a thread inside SQLite cannot be stopped.
 */
import { Worker } from 'node:worker_threads';
import { LastseenError } from '../errors.ts';
import { createEncoder } from './format.ts';
import { postgresSandbox } from './postgres/sandbox.ts';
import type { Job, JobReply, Sandbox, Source } from './sandbox.ts';
import { sqliteSandbox } from './sqlite/sandbox.ts';

const PIECE_BYTES = 256 * 1024;

const WATCH_MS = 500;

let sandbox: Sandbox | undefined;

function say(reply: JobReply): void {
  process.send?.(reply);
}

/** A process serves one store only. */
function begin(source: Source): Sandbox {
  if (source.kind === 'sqlite') {
    // Without a listener SIGTERM ends a process that is deep inside SQLite; with one it would have to wait.
    watchParent();
    return sqliteSandbox(source.path);
  }
  process.on('SIGTERM', leave);
  return postgresSandbox(source.url);
}

async function answer({ source, question, format, maxRows, maxBytes }: Job): Promise<void> {
  sandbox ??= begin(source);
  let encoder = createEncoder(format, []);
  let pending = '';
  let bytes = 0;
  let rows = 0;
  let isTruncated = false;

  const flush = (): void => {
    if (pending !== '') say({ type: 'piece', bytes: Buffer.from(pending) });
    pending = '';
  };

  await sandbox.run(
    question,
    (columns) => {
      encoder = createEncoder(format, columns);
      pending = encoder.head;
    },
    (cells) => {
      if (rows >= maxRows) isTruncated = true;
      if (isTruncated) return false;
      const text = encoder.row(cells);
      const size = Buffer.byteLength(text);
      if (bytes + size > maxBytes) isTruncated = true;
      if (isTruncated) return false;
      bytes += size;
      rows += 1;
      pending += text;
      if (pending.length >= PIECE_BYTES) flush();
      return true;
    },
  );
  pending += encoder.tail(isTruncated);
  flush();
  say({ type: 'done', rows, isTruncated });
}

process.on('message', (job: Job) => {
  answer(job).catch((error: unknown) => {
    const known = error instanceof LastseenError ? error : undefined;
    say({
      type: 'failed',
      code: known?.code ?? 'ERR_INTERNAL',
      message: known?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error)),
      faults: known?.faults ?? [],
    });
  });
});
process.on('disconnect', leave);
say({ type: 'ready' });

/** A thread beside SQLite: when the server is gone, nobody ends a statement that has no end. */
function watchParent(): void {
  const program = `setInterval(() => { if (process.ppid !== ${String(process.ppid)}) process.kill(process.pid, 'SIGKILL'); }, ${String(WATCH_MS)});`;
  new Worker(program, { eval: true, resourceLimits: { maxOldGenerationSizeMb: 8 } }).unref();
}

function leave(): void {
  const ended = sandbox?.cancel() ?? Promise.resolve();
  void ended
    .catch(() => undefined)
    .then(() => {
      process.exit(0);
    });
}
