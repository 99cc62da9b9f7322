/** The guides do what they say: each command whose output they show is run, and gives it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openShell, readBlocks, ROOT, runDocument, type Shell } from '../support/document.ts';
import { runCommand, type ServerProcess, startProcess, TOKEN } from '../support/process.ts';
import { temporaryDirectory } from '../support/temporary.ts';

interface Place {
  readonly directory: string;
  readonly shell: Shell;
}

/** A server on a new log, and a terminal whose commands find it. */
async function withServer(
  databaseOf: (directory: string) => string,
  work: (place: Place) => Promise<void>,
): Promise<void> {
  const directory = temporaryDirectory();
  const path = databaseOf(directory.path);
  const server: ServerProcess = await startProcess(path);
  try {
    const environment = { LASTSEEN_TOKEN: TOKEN, DATABASE_URL: `sqlite:${path}` };
    const shell = openShell({ directory: directory.path, url: server.url, environment });
    await work({ directory: directory.path, shell });
  } finally {
    await server.end('SIGTERM');
    directory.remove();
  }
}

const newLog = (directory: string): string => join(directory, 'log.db');

/** How many commands with their output each document has: fewer would mean that they are not found. */
const DOCUMENTS = {
  'docs/getting-started.md': 5,
  'docs/guides/connectors.md': 6,
  'docs/guides/browser-clients.md': 2,
  'docs/guides/migrating.md': 2,
} as const;

describe('the guides', () => {
  for (const [name, count] of Object.entries(DOCUMENTS)) {
    it(`${name}: each command gives the output that is shown`, async () => {
      await withServer(newLog, async ({ shell }) => {
        assert.equal(await runDocument(readBlocks(name), shell), count);
      });
    });
  }

  it('docs/guides/operators.md: each command gives the output that is shown', async () => {
    const blocks = readBlocks('docs/guides/operators.md');
    const restore = blocks.findIndex(({ text }) => text.includes('lastseen restore backup.db'));
    const directory = temporaryDirectory();
    const path = newLog(directory.path);
    const environment = { LASTSEEN_TOKEN: TOKEN, DATABASE_URL: `sqlite:${path}` };
    const server = await startProcess(path);
    try {
      const shell = openShell({ directory: directory.path, url: server.url, environment });
      assert.equal(await runDocument(blocks.slice(0, restore), shell), 5);
      // The guide says to stop the server first.
      assert.equal(await server.end('SIGTERM'), 0);
      assert.equal(await runDocument(blocks.slice(restore), shell), 1);
    } finally {
      await server.end('SIGTERM');
      directory.remove();
    }
  });

  it('docs/guides/analysts.md: the example log gives the answers that are shown', async () => {
    const blocks = readBlocks('docs/guides/analysts.md');
    const directory = temporaryDirectory();
    const path = join(directory.path, 'data/shop.db');
    const imported = await runCommand(['import', '--keep-epoch', join(ROOT, 'docs/examples/shop.ndjson')], {
      DATABASE_URL: `sqlite:${path}`,
    });
    assert.equal(imported.stderr, blocks[1]?.text);
    const server = await startProcess(path, { LASTSEEN_ADMIN_TOKEN: 'a-token-for-this-page' });
    try {
      const shell = openShell({ directory: directory.path, url: server.url });
      // A question is a command whose only argument is the statement.
      const commands = blocks
        .slice(2)
        .map((block) =>
          block.language === 'sql'
            ? { language: 'sh', text: `npx lastseen query "$(cat <<'END'\n${block.text}END\n)"\n` }
            : block,
        );
      assert.equal(await runDocument(commands, shell), 1 + 12 + 5);
    } finally {
      await server.end('SIGTERM');
      directory.remove();
    }
  });

  it('docs/guides/connectors.md: a git history is pushed, and pushed again without a duplicate', async () => {
    await withServer(newLog, async ({ directory, shell }) => {
      const git = (...args: string[]): void => {
        const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@example.com'];
        const { status, stderr } = spawnSync('git', [...identity, ...args], { cwd: directory });
        assert.equal(status, 0, String(stderr));
      };
      git('init', '--quiet');
      for (const subject of ['one', 'two', 'three', 'four']) {
        git('commit', '--quiet', '--allow-empty', '-m', subject);
      }
      const command = readBlocks('docs/guides/connectors.md').find(({ text }) => text.includes('git log'));
      assert.equal(await shell.run(command?.text ?? ''), '4 events pushed, 4 new\n');
      assert.equal(await shell.run(command?.text ?? ''), '4 events pushed, 0 new\n');
      const feed = await shell.run('npx lastseen tail git --no-follow');
      assert.deepEqual(
        [...feed.matchAll(/"version":(\d)/g)].map(([, version]) => version),
        ['1', '2', '3', '4'],
      );
    });
  });
});
