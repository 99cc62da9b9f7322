/** The knex command line in a clean checkout, as the README writes its commands. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, symlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { migrations } from '../../migrations/index.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');

describe('npx knex in a clean checkout, with no data directory', () => {
  let directory: TemporaryDirectory;
  before(() => {
    directory = temporaryDirectory();
    for (const name of ['package.json', 'knexfile.ts', 'src', 'migrations', 'seeds']) {
      cpSync(join(ROOT, name), join(directory.path, name), { recursive: true });
    }
    symlinkSync(join(ROOT, 'node_modules'), join(directory.path, 'node_modules'));
  });
  after(() => directory.remove());

  async function knex(command: string): Promise<string> {
    // The Node of the machine, whatever it is: npx has to find that of the checkout.
    const path = (process.env['PATH'] ?? '')
      .split(delimiter)
      .filter((part) => !part.includes('node_modules'));
    const { stdout } = await run('npx', ['knex', command], {
      cwd: directory.path,
      env: { HOME: process.env['HOME'], PATH: path.join(delimiter) },
    });
    // knex looks for a loader of TypeScript first, and names each that it does not find; Node needs none.
    return stdout.replace(/^Failed to load external module .*\n/gm, '');
  }

  it('migrates, tells what has run, and loads the story', async () => {
    assert.match(
      await knex('migrate:status'),
      new RegExp(`Found ${migrations.length} Pending[^\\n]*\\n0001_log\\n`),
    );
    assert.match(await knex('migrate:latest'), /^Batch 1 run: \d+ migrations\n$/);
    assert.match(
      await knex('migrate:status'),
      new RegExp(`${migrations.at(-1)?.name}[\\s\\S]*No Pending Migration files Found`),
    );
    assert.equal(await knex('seed:run'), 'Ran 1 seed files\n');
    assert.equal(await knex('migrate:latest'), 'Already up to date\n');
  });
});
