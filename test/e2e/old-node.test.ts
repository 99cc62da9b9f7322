/** A Node that is too old is told so, before anything that crashes on it is loaded. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { describe, it } from 'node:test';
import { MAIN } from '../support/process.ts';

function versionOf(node: string): string {
  const { status, stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : '';
}

const old = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((directory) => join(directory, 'node'))
  .find((node) => /^v(1\d|20|21)\./.test(versionOf(node)));

describe('the command on a Node older than 22', () => {
  const reason = old === undefined ? 'no Node older than 22 is on the PATH' : false;
  it('says in one line which it needs and which it got, and exits with 1', { skip: reason }, () => {
    for (const args of [['serve'], ['--version'], []]) {
      const { status, stdout, stderr } = spawnSync(old ?? '', [MAIN, ...args], { encoding: 'utf8' });
      const expected = `lastseen needs Node 22 or later, this is ${versionOf(old ?? '')}\n`;
      assert.deepEqual([status, stdout, stderr], [1, '', expected]);
    }
  });
});
