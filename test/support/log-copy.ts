/** Copies of the SQLite files of a log, as a volume snapshot or a replication tool makes them. */
import { copyFileSync, existsSync, rmSync } from 'node:fs';

/** Copies the files of the log at a path to another path. No server may be writing at the time. */
export function copyLog(from: string, to: string): void {
  rmSync(`${to}-shm`, { force: true });
  for (const suffix of ['', '-wal']) {
    rmSync(to + suffix, { force: true });
    if (existsSync(from + suffix)) {
      copyFileSync(from + suffix, to + suffix);
    }
  }
}
