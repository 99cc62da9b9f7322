/** Where a command writes what it makes: a file that has its name only when it is whole, or standard output. */
import { existsSync, fstatSync, realpathSync, rmSync, statSync, write as writeTo } from 'node:fs';
import { open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { moveIntoPlace } from '../../atomic-file.ts';
import { LastseenError } from '../../errors.ts';

export interface Output {
  /** Resolves when the system has taken it: nothing piles up here. @throws ERR_STORE_UNAVAILABLE, e.g. a full disk */
  write(data: string | Uint8Array): Promise<void>;
  /** It is whole: a file is flushed to disk and takes its name. */
  commit(): Promise<void>;
  /** Removes what was written to a file. */
  abandon(): void;
}

export interface OutputOptions {
  /** An existing file may be replaced. */
  readonly isForced: boolean;
}

/**
 * `undefined` is standard output. A file is written beside its place, as `FILE-partial-PID`.
 * @throws ERR_REQUEST_INVALID if there is one already, unless `isForced`
 */
export async function openOutput(file: string | undefined, options: OutputOptions): Promise<Output> {
  return file === undefined ? standardOutput() : openFile(file, options);
}

async function openFile(name: string, options: OutputOptions): Promise<Output> {
  assertWritable(name, options);
  // What a link points to is replaced, not the link.
  const file = existsSync(name) ? realpathSync(name) : name;
  const partial = `${file}-partial-${process.pid}`;
  const handle = await open(partial, 'wx');
  const failed = (error: unknown): LastseenError => {
    const message = `${name}: ${error instanceof Error ? error.message : String(error)}: nothing is there`;
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

/** Who reads us may stop reading: `main.ts` ends the process then. */
function standardOutput(): Output {
  return {
    write: (data) => (isStream() ? writeStream(data) : writeAll(data)),
    commit: () => Promise.resolve(),
    abandon: () => undefined,
  };
}

/** Whether standard output is one for which Node waits without stopping; else it is a file that we were given. */
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

/** A file takes a part when its disk becomes full, and says so only when asked for the rest. */
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
    throw new LastseenError('ERR_REQUEST_INVALID', `${name} is no ordinary file: give "-" and redirect it`);
  }
  if (!isForced) {
    throw new LastseenError('ERR_REQUEST_INVALID', `${name} exists already: give another name, or --force`);
  }
}
