/** The part of the SDK that needs Node, package entry `lastseen/client/node`. */
import { readFileSync } from 'node:fs';
import { replaceFile } from '../atomic-file.ts';
import type { Cancel } from '../runtime.ts';
import { systemRuntime } from '../system-runtime.ts';
import type { CursorStore } from './subscribe/cursor-store.ts';
import { type FeedPlace, parsePlace } from './subscribe/feed-place.ts';

export interface FileStore extends CursorStore {
  /** Writes the cursors that are not in the file yet. */
  flush(): void;
}

export interface FileStoreOptions {
  /**
   * Milliseconds by which the file may lag behind the loop. After a crash, the loop gets the events of that time again.
   * Default 100; 0 writes the file after each event.
   */
  readonly maxLagMs?: number;
}

/**
 * Keeps the place in each feed in a JSON file, one member for each access_id. A member may be a cursor alone, as earlier
 * releases wrote it. Each write replaces the file atomically and syncs it to
 * disk. Only one process may use a file.
 * @throws when the file exists and does not contain cursors, or when it cannot be read; `save` and `flush` when it
 *   cannot be written
 */
export function fileStore(path: string, { maxLagMs = 100 }: FileStoreOptions = {}): FileStore {
  const { clock, timers } = systemRuntime;
  const cursors = readCursors(path);
  let isWritten = true;
  let writtenAt = Number.NEGATIVE_INFINITY;
  let cancelFlush: Cancel | undefined;

  function flush(): void {
    cancelFlush?.();
    cancelFlush = undefined;
    if (isWritten) {
      return;
    }
    replaceFile(path, `${JSON.stringify(Object.fromEntries(cursors), null, 2)}\n`);
    isWritten = true;
    writtenAt = clock.steady();
  }

  return {
    load: (accessId) => cursors.get(accessId),
    save(accessId, cursor, place) {
      cursors.set(accessId, place ?? cursor);
      isWritten = false;
      const leftMs = writtenAt + maxLagMs - clock.steady();
      if (leftMs <= 0) {
        flush();
      } else {
        cancelFlush ??= timers.after(leftMs, flush);
      }
    },
    flush,
  };
}

function readCursors(path: string): Map<string, string | FeedPlace> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return new Map();
    }
    throw error;
  }
  const damaged = new Error(
    `${path} does not contain cursors: expected a JSON object with one cursor or place for each access_id`,
  );
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
  if (entries.some(([, place]) => parsePlace(place) === undefined)) {
    throw damaged;
  }
  return new Map(entries as [string, string | FeedPlace][]);
}
