/** The README does what it says: its commands are run as they are written, and give the output it shows. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  type Block,
  normalise,
  openShell,
  readBlocks,
  runDocument,
  type Shell,
} from '../support/document.ts';
import { type ServerProcess, startProcess } from '../support/process.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const blocks: readonly Block[] = readBlocks('README.md');

describe('the README', () => {
  let directory: TemporaryDirectory;
  let server: ServerProcess;
  let shell: Shell;
  before(async () => {
    directory = temporaryDirectory();
    server = await startProcess(join(directory.path, 'log.db'), { LASTSEEN_ADMIN_TOKEN: '' });
    const token = /LASTSEEN_TOKEN=(\S+)/.exec(server.output())?.[1] ?? '';
    shell = openShell({
      directory: directory.path,
      url: server.url,
      environment: { LASTSEEN_TOKEN: token },
    });
  });
  after(async () => {
    await server.end('SIGTERM');
    directory.remove();
  });

  it('two commands do all the set-up, each in a block of its own', () => {
    const setUp = blocks.filter(({ text }) => /\bnpm (ci|install|start|test|run)\b/.test(text));
    assert.deepEqual(
      setUp.map(({ text }) => text),
      ['npm ci && npm start\n', 'npm ci && npm test\n'],
    );
  });

  it('the server says at its first start what the README shows', () => {
    const start = blocks.findIndex(({ text }) => text.includes('npm start'));
    const said = normalise(server.output()).split('\n');
    const shown = normalise(blocks[start + 1]?.text ?? '')
      .split('\n')
      .filter((line) => line !== '');
    assert.equal(shown.length, 3);
    assert.deepEqual(
      shown,
      said.filter((line) => shown.includes(line)),
    );
  });

  it('push, follow, cut and resume give the output that is shown', async () => {
    const first = blocks.findIndex(({ text }) => text.includes('/push_events'));
    assert.equal(await runDocument(blocks.slice(first), shell), 4);
  });

  it('a feed is read with nothing but curl', async () => {
    const block = blocks.find(({ text }) => text.includes('curl -N'));
    const [page = '', stream = ''] = (block?.text ?? '').split('\n');
    const missed = '"payload":"while you were away"';
    assert.ok((await shell.run(page)).includes(missed));
    assert.ok((await shell.follow(stream, (output) => output.includes(missed))).includes(missed));
  });
});
