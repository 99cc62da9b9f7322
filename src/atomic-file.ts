/**
 * Atomic replacement of a file: the data is written under another name, synced to disk and renamed. After a crash or a
 * power cut the file has its old content or its new content, never a part of either.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Creates or replaces the file at `path` by way of `PATH.next`. The new file has the default permissions of the process
 * (its umask), whatever the old file had. Two writers of one path disturb each other.
 * @throws what the file system throws; the file at `path` then has its old content, and `PATH.next` is removed
 */
export function replaceFile(path: string, data: string | Uint8Array): void {
  const partial = `${path}.next`;
  orRemove(partial, () => {
    writeFileSync(partial, data);
  });
  moveIntoPlace(partial, path);
}

/**
 * Gives the complete file `partial` the name `path`, in the same directory: syncs the file, renames it, syncs the
 * directory. The file keeps its permissions.
 * @throws what the file system throws; if the rename has not happened, `partial` is removed
 */
export function moveIntoPlace(partial: string, path: string): void {
  orRemove(partial, () => {
    // Windows syncs only what is open for writing.
    sync(partial, 'r+');
    renameSync(partial, path);
  });
  syncDirectory(path);
}

/** Syncs the directory of `path`: a name that was made, moved or removed there is then on disk. */
export function syncDirectory(path: string): void {
  // Windows cannot open a directory.
  if (process.platform !== 'win32') {
    sync(dirname(path), 'r');
  }
}

function orRemove(partial: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}

function sync(path: string, flags: 'r' | 'r+'): void {
  const file = openSync(path, flags);
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
