/** What of the SDK needs Node, package entry `lastseen/client/node`. */
import { readFileSync } from 'node:fs';
import { replaceFile } from '../atomic-file.ts';
import type { CursorStore } from './subscribe/cursor-store.ts';

export interface FileStore extends CursorStore {
  /** Writes what is not written yet. */
  flush(): void;
}

export interface FileStoreOptions {
  /** Milliseconds that the file may lag behind the loop: after a crash so much is given again. Default 100; 0 writes each. */
  readonly maxLagMs?: number;
}

/**
 * Cursors in a file, a JSON object by access_id. The file is replaced whole, and synced first: it always holds some place
 * where the loop has been. One process a file.
 * @throws when the file is there and holds something else, or cannot be written
 */
export function fileStore(path: string, { maxLagMs = 100 }: FileStoreOptions = {}): FileStore {
  const cursors = readCursors(path);
  let isWritten = true;
  let writtenAt = 0;
  let timer: NodeJS.Timeout | undefined;

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    if (isWritten) {
      return;
    }
    replaceFile(path, `${JSON.stringify(Object.fromEntries(cursors), null, 2)}\n`);
    isWritten = true;
    writtenAt = Date.now();
  }

  return {
    load: (accessId) => cursors.get(accessId),
    save(accessId, cursor) {
      cursors.set(accessId, cursor);
      isWritten = false;
      const left = writtenAt + maxLagMs - Date.now();
      if (left <= 0) {
        flush();
      } else {
        timer ??= setTimeout(flush, left);
      }
    },
    flush,
  };
}

function readCursors(path: string): Map<string, string> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return new Map();
    }
    throw error;
  }
  const damaged = new Error(`${path} does not hold cursors: expected a JSON object of cursors by access_id`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw damaged;
  }
  const entries = Object.entries(value);
  if (entries.some(([, cursor]) => typeof cursor !== 'string')) {
    throw damaged;
  }
  return new Map(entries as [string, string][]);
}
