/** The README does what it says: its commands are run as they stand there, and give the output it shows. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { MAIN, type ServerProcess, startProcess } from '../support/process.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const ROOT = join(import.meta.dirname, '../..');
const PATIENCE_MS = 30_000;

interface Block {
  readonly language: string;
  readonly text: string;
}

const blocks: Block[] = [
  ...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm),
].map((match) => ({ language: match[1] ?? '', text: match[2] ?? '' }));

/** Places and times differ from run to run. */
function normalised(text: string): string {
  return text.replace(/"cursor":"[^"]*"/g, '"cursor":"…"').replace(/"recorded_at":\d+/g, '"recorded_at":0');
}

describe('the README', () => {
  let directory: TemporaryDirectory;
  let server: ServerProcess;
  before(async () => {
    directory = temporaryDirectory();
    server = await startProcess(join(directory.path, 'log.db'), { LASTSEEN_ADMIN_TOKEN: 'secret' });
    mkdirSync(join(directory.path, 'bin'));
    const npx = join(directory.path, 'bin/npx');
    // The command of this checkout.
    writeFileSync(npx, `#!/bin/sh\nshift\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
    chmodSync(npx, 0o755);
  });
  after(async () => {
    await server.end('SIGTERM');
    directory.remove();
  });

  function shell(script: string): ReturnType<typeof spawn> {
    return spawn('bash', ['-c', script.replaceAll('http://127.0.0.1:8080', server.url)], {
      cwd: directory.path,
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        NODE_OPTIONS: '',
        PATH: `${join(directory.path, 'bin')}${delimiter}${process.env['PATH'] ?? ''}`,
        LASTSEEN_URL: server.url,
        LASTSEEN_TOKEN: 'secret',
      },
    });
  }

  /** Runs the script until its output fits, then presses Ctrl-C; gives the output. */
  function run(script: string, fits: (output: string) => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = shell(script);
      let output = '';
      let hasFitted = false;
      const timer = setTimeout(() => {
        process.kill(-(child.pid ?? 0), 'SIGKILL');
      }, PATIENCE_MS);
      child.stdout?.on('data', (data: Buffer) => {
        output += data.toString();
        if (hasFitted || !fits(output)) {
          return;
        }
        hasFitted = true;
        process.kill(-(child.pid ?? 0), 'SIGINT');
      });
      child.once('close', () => {
        clearTimeout(timer);
        if (hasFitted || fits(output)) {
          resolve(output);
        } else {
          reject(new Error(`${script}\ngave\n${output}`));
        }
      });
    });
  }

  it('the sixty seconds give the output that is shown, cut and resumed', async () => {
    const from = blocks.findIndex(({ text }) => text.includes('npm start'));
    const shown = blocks[from + 1];
    assert.match(shown?.text ?? '', /^lastseen listening on http:\/\/127\.0\.0\.1:8080$/m);
    let pairs = 0;
    for (let at = from + 2; blocks[at + 1]?.language === ''; at += 2) {
      const expected = normalised(blocks[at + 1]?.text ?? '');
      await run(blocks[at]?.text ?? '', (output) => normalised(`${output}\n`).includes(expected));
      pairs += 1;
    }
    assert.equal(pairs, 4);
  });

  it('a feed is read with nothing but curl', async () => {
    const block = blocks.find(({ text }) => text.includes('curl -N'));
    const commands = (block?.text ?? '').split('\n').filter((line) => line.startsWith('curl'));
    assert.equal(commands.length, 2);
    for (const command of commands) {
      await run(command, (output) => output.includes('"payload":"while you were away"'));
    }
  });

  it('the history is asked with SQL', async () => {
    const block = blocks.find(({ text }) => text.includes('lastseen query'))?.text ?? '';
    const output = await run(block, (text) => text.includes('rows'));
    assert.match(output, /^access_id +events +last_recorded_at\n/);
    assert.match(output, /^client1 +2 +\d{4}-/m);
  });

  it('a git history is pushed, followed, and pushed again without a double', async () => {
    const git = (...args: string[]): void => {
      const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@example.com'];
      assert.equal(
        spawnSync('git', [...identity, ...args], { cwd: directory.path }).status,
        0,
        args.join(' '),
      );
    };
    git('init', '--quiet');
    for (const subject of ['one', 'two', 'three', 'four']) {
      git('commit', '--quiet', '--allow-empty', '-m', subject);
    }
    const block = blocks.find(({ text }) => text.includes('git log'))?.text ?? '';
    const first = await run(block, (output) => output.split('\n').length > 4);
    assert.match(first, /^4 events pushed, 4 new\n/);
    assert.deepEqual(
      [...first.matchAll(/"version":(\d)/g)].map((match) => match[1]),
      ['1', '2', '3'],
    );
    assert.match(await run(block, (output) => output.split('\n').length > 4), /^4 events pushed, 0 new\n/);
  });
});
