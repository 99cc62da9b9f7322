/** Documents whose commands are run: a `sh` block that a block without a language follows gives the output it shows. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { MAIN } from './process.ts';
import { PATIENCE_MS } from './until.ts';

export const ROOT = join(import.meta.dirname, '../..');

export interface Block {
  readonly language: string;
  readonly text: string;
}

/** The code blocks of a document, in order. */
export function readBlocks(name: string): Block[] {
  const text = readFileSync(join(ROOT, name), 'utf8');
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1] ?? '',
    text: match[2] ?? '',
  }));
}

/** Replaces what differs from run to run: cursors, times of recording, ids and tokens. */
export function normalise(text: string): string {
  return text
    .replace(/"recorded_at":\d+/g, '"recorded_at":0')
    .replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]+/g, 'JWT')
    .replace(/\b(ls[rs]_)[\w-]+/g, '$1SECRET')
    .replace(/LASTSEEN_TOKEN=[\w-]+/g, 'LASTSEEN_TOKEN=TOKEN')
    .replace(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, 'UUID')
    .replace(/\b[0-9a-z]{8}\.(0\b|[0-9a-z]+\.2\.0\.[0-9a-z]+\b)/g, 'CURSOR')
    .replace(/\b1[0-9]{12}\b/g, 'MILLISECONDS')
    .replace(/\b127\.0\.0\.1:\d+/g, 'HOST');
}

/** Whether the output is what the document shows; `…` there stands for anything on its line, alone for any lines. */
export function isShown(output: string, shown: string): boolean {
  const pattern = normalise(shown)
    .trim()
    .split('\n')
    .map((line) =>
      line.trim() === '…'
        ? '[\\s\\S]*'
        : line
            .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
            .replaceAll('…', '[^\\n]*')
            .trimEnd(),
    )
    .join('\\s*\\n');
  return new RegExp(`^${pattern}$`).test(normalise(output).trim());
}

export interface ShellOptions {
  /** Where the commands are run. */
  readonly directory: string;
  /** Stands for `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface Shell {
  /** Runs the script to its end and returns its output. Variables that it exports live on in the scripts that follow. */
  run(script: string): Promise<string>;
  /** Runs a script that does not end, until its output fits, then presses Ctrl-C. Returns the output. */
  follow(script: string, fits: (output: string) => boolean): Promise<string>;
}

/** A terminal in a directory that looks like a checkout: `npx lastseen` and `docs` are there. */
export function openShell({ directory, url, environment = {} }: ShellOptions): Shell {
  const bin = join(directory, 'bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'npx'), `#!/bin/sh\nshift\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
  chmodSync(join(bin, 'npx'), 0o755);
  if (!existsSync(join(directory, 'docs'))) {
    symlinkSync(join(ROOT, 'docs'), join(directory, 'docs'));
  }
  const variables = join(directory, 'variables.sh');
  writeFileSync(variables, '');

  function start(script: string): ChildProcess {
    const here = script.replaceAll('http://127.0.0.1:8080', url);
    // On a terminal curl shows no progress.
    const prelude = `. '${variables}'; curl() { command curl -sS "$@"; }`;
    return spawn('bash', ['-c', `${prelude}\n${here}\nexport -p > '${variables}'`], {
      cwd: directory,
      // A group of its own, so that all of it can be ended.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        NODE_OPTIONS: '',
        PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`,
        LASTSEEN_URL: url,
        ...environment,
      },
    });
  }

  function collect(script: string, onOutput: (output: string, child: ChildProcess) => void): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = start(script);
      let output = '';
      let isLate = false;
      const timer = setTimeout(() => {
        isLate = true;
        process.kill(-(child.pid ?? 0), 'SIGKILL');
      }, PATIENCE_MS);
      const read = (data: Buffer): void => {
        output += data.toString();
        onOutput(output, child);
      };
      child.stdout?.on('data', read);
      child.stderr?.on('data', read);
      child.once('close', () => {
        clearTimeout(timer);
        if (isLate) {
          reject(new Error(`${script}\ndid not end; it gave\n${output}`));
        } else {
          resolve(output);
        }
      });
    });
  }

  return {
    run: (script) => collect(script, () => undefined),
    follow: (script, fits) => {
      let hasFitted = false;
      return collect(script, (output, child) => {
        if (!hasFitted && fits(output)) {
          hasFitted = true;
          process.kill(-(child.pid ?? 0), 'SIGINT');
        }
      });
    },
  };
}

/** A command that goes on until somebody presses Ctrl-C. */
function isEndless(script: string): boolean {
  return (script.includes('lastseen tail') && !script.includes('--no-follow')) || script.includes('curl -N');
}

/** Runs each block that is followed by its output, and returns how many these were. @throws Error naming the block that gave something else */
export async function runDocument(blocks: readonly Block[], shell: Shell): Promise<number> {
  let count = 0;
  for (const [index, { language, text }] of blocks.entries()) {
    const next = blocks[index + 1];
    if (language !== 'sh' || next?.language !== '') {
      continue;
    }
    const output = isEndless(text)
      ? await shell.follow(text, (soFar) => isShown(soFar, next.text))
      : await shell.run(text);
    if (!isShown(output, next.text)) {
      throw new Error(`${text}\ngave\n${output}\nand not\n${next.text}`);
    }
    count += 1;
  }
  return count;
}
