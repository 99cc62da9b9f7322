/** A directory of a test's own. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { own } from './possessions.ts';

export interface TemporaryDirectory {
  readonly path: string;
  remove(): void;
}

export function temporaryDirectory(): TemporaryDirectory {
  const path = mkdtempSync(join(tmpdir(), 'lastseen-test-'));
  const disown = own({ name: `temporary directory ${path}`, isLeft: () => existsSync(path) });
  return {
    path,
    remove() {
      rmSync(path, { recursive: true, force: true });
      disown();
    },
  };
}
