/** Atomic replacement of a file on a real file system. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { moveIntoPlace, replaceFile } from '../src/atomic-file.ts';
import { type TemporaryDirectory, temporaryDirectory } from './support/temporary.ts';

describe('atomic replacement of a file', () => {
  let directory: TemporaryDirectory;
  let path: string;
  beforeEach(() => {
    directory = temporaryDirectory();
    path = join(directory.path, 'file');
  });
  afterEach(() => {
    directory.remove();
  });

  const names = (): string[] => readdirSync(directory.path).sort();

  it('creates the file, then replaces it whole, and leaves no other file', () => {
    replaceFile(path, 'first, and longer');
    assert.equal(readFileSync(path, 'utf8'), 'first, and longer');
    replaceFile(path, new Uint8Array([50]));
    assert.equal(readFileSync(path, 'utf8'), '2');
    assert.deepEqual(names(), ['file']);
  });

  it('a replaced file gets the permissions of a new file, a moved file keeps its own', () => {
    replaceFile(path, 'new');
    const fresh = statSync(path).mode & 0o777;
    chmodSync(path, 0o600);
    replaceFile(path, 'again');
    assert.equal(statSync(path).mode & 0o777, fresh);
    const partial = join(directory.path, 'partial');
    writeFileSync(partial, 'moved');
    chmodSync(partial, 0o640);
    moveIntoPlace(partial, path);
    assert.deepEqual([statSync(path).mode & 0o777, readFileSync(path, 'utf8')], [0o640, 'moved']);
    assert.deepEqual(names(), ['file']);
  });

  it('a failure throws and removes the partial file', () => {
    // A file cannot take the name of a directory.
    mkdirSync(path);
    assert.throws(() => {
      replaceFile(path, 'text');
    }, /EISDIR|EEXIST|ENOTEMPTY/);
    assert.deepEqual(names(), ['file']);
    assert.throws(() => {
      replaceFile(join(directory.path, 'missing', 'file'), 'text');
    }, /ENOENT/);
  });
});
