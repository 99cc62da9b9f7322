/** Where a command writes its output: a file that appears only when it is complete, or standard output. */
import {
  existsSync,
  fstatSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  write as writeTo,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { moveIntoPlace } from '../../atomic-file.ts';
import { LastseenError } from '../../errors.ts';

export interface Output {
  /** Resolves when the system has accepted the data: no queue grows here. @throws ERR_STORE_UNAVAILABLE, such as a full disk */
  write(data: string | Uint8Array): Promise<void>;
  /** The output is complete: a file is synced to disk and gets its name. */
  commit(): Promise<void>;
  /** Removes an incomplete file. */
  abandon(): void;
}

export interface OutputOptions {
  /** An existing file may be replaced. */
  readonly isForced: boolean;
}

/**
 * `undefined` is standard output. A file has the name `FILE-partial-PID` until it is complete.
 * @throws ERR_REQUEST_INVALID if the file exists, unless `isForced`
 */
export async function openOutput(file: string | undefined, options: OutputOptions): Promise<Output> {
  return file === undefined ? standardOutput() : openFile(file, options);
}

async function openFile(name: string, options: OutputOptions): Promise<Output> {
  assertWritable(name, options);
  // A link stays: the file that it points to is replaced.
  const file = existsSync(name) ? realpathSync(name) : name;
  const partial = `${file}-partial-${process.pid}`;
  for (const left of leftPartials(file)) {
    process.stderr.write(`${left} is what an interrupted export has left: delete it\n`);
  }
  const handle = await open(partial, 'wx');
  const failed = (error: unknown): LastseenError => {
    const message = `${name}: ${error instanceof Error ? error.message : String(error)}: no file was written`;
    return new LastseenError('ERR_STORE_UNAVAILABLE', message, { cause: error });
  };
  return {
    async write(data) {
      try {
        await handle.writeFile(data);
      } catch (error) {
        throw failed(error);
      }
    },
    async commit() {
      try {
        await handle.sync();
        await handle.close();
      } catch (error) {
        throw failed(error);
      }
      assertWritable(name, options);
      moveIntoPlace(partial, file);
    },
    abandon() {
      handle.close().catch(() => undefined);
      rmSync(partial, { force: true });
    },
  };
}

/** Files of exports whose process has ended. */
function leftPartials(file: string): string[] {
  const prefix = `${basename(file)}-partial-`;
  return readdirSync(dirname(file))
    .filter((name) => name.startsWith(prefix) && !isRunning(Number(name.slice(prefix.length))))
    .map((name) => join(dirname(file), name));
}

function isRunning(processId: number): boolean {
  try {
    return process.kill(processId, 0);
  } catch (error) {
    // EPERM: it runs under another user.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** If the reader of standard output stops reading, `main.ts` ends the process. */
function standardOutput(): Output {
  return {
    write: (data) => (isStream() ? writeStream(data) : writeAll(data)),
    commit: () => Promise.resolve(),
    abandon: () => undefined,
  };
}

/** Node writes to terminals, pipes and sockets without blocking. Otherwise standard output is a file. */
function isStream(): boolean {
  const stat = fstatSync(process.stdout.fd);
  return process.stdout.isTTY || stat.isFIFO() || stat.isSocket();
}

function writeStream(data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(data, (error) => {
      if (error) {
        reject(error);
      } else {
        resolve();
      }
    });
  });
}

/** When a disk becomes full, a write takes a part of the bytes, and only the next write fails. */
async function writeAll(data: string | Uint8Array): Promise<void> {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  for (let offset = 0; offset < bytes.length;) {
    const length = bytes.length - offset;
    const { bytesWritten } = await promisify(writeTo)(process.stdout.fd, bytes, offset, length, null);
    offset += bytesWritten;
  }
}

function assertWritable(name: string, { isForced }: OutputOptions): void {
  if (!existsSync(name)) {
    return;
  }
  if (!statSync(name).isFile()) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `${name} is not a regular file: pass "-" and redirect standard output`,
    );
  }
  if (!isForced) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `${name} already exists: choose another name, or pass --force`,
    );
  }
}
