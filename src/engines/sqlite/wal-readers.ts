/**
 * Names the other processes that hold a read transaction on an SQLite file. Each holds a lock on one of the bytes 123 to
 * 127 of the file `-shm` (SQLite's WAL-index format), and Linux lists the locks with their processes in /proc/locks.
 */
import { readFileSync, statSync } from 'node:fs';

/** Bytes of the read marks 0 to 4. With mark 0 a reader uses the file alone, and prevents checkpoints altogether. */
const FIRST_MARK = 123;
const LAST_MARK = 127;

/** For a message: `process 4711 (sqlite3)`, or a hint how to find it. */
export function readersOf(shmPath: string): string {
  const names = [...readerIds(shmPath)].map((id) => `process ${id} (${commandOf(id)})`);
  return names.length === 0 ? `find it with fuser ${shmPath}` : names.join(', ');
}

function readerIds(shmPath: string): ReadonlySet<number> {
  const ids = new Set<number>();
  try {
    const { ino } = statSync(shmPath, { bigint: true });
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      // 1: POSIX  ADVISORY  READ  4711 08:01:1234 124 124
      const [, kind, , mode, id, file, first] = line.trim().split(/\s+/);
      const byte = Number(first);
      const isMark = byte >= FIRST_MARK && byte <= LAST_MARK;
      if (
        kind === 'POSIX' &&
        mode === 'READ' &&
        isMark &&
        file?.endsWith(`:${ino}`) &&
        Number(id) !== process.pid
      ) {
        ids.add(Number(id));
      }
    }
  } catch {
    // Not Linux, or /proc is not mounted.
  }
  return ids;
}

function commandOf(id: number): string {
  try {
    return readFileSync(`/proc/${id}/comm`, 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
