/** Starting and stopping what is measured: the real server, and the helper processes around it. */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Running {
  readonly port: number;
  /** Bytes of memory the process holds (Linux). */
  rssBytes(): number;
  stop(): Promise<void>;
}

const MAIN = new URL('../../bin/lastseen.js', import.meta.url).pathname;

/** Filling 10^7 events is the longest. */
const HELPER_TIMEOUT_MS = 1_800_000;

const temporary = new Set<string>();

/** A directory that is gone when `removeTemporary` was called. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(process.env['BENCH_TMP'] ?? tmpdir(), 'lastseen-bench-'));
  temporary.add(path);
  return path;
}

export function removeTemporary(path?: string): void {
  for (const each of path === undefined ? [...temporary] : [path]) {
    rmSync(each, { recursive: true, force: true });
    temporary.delete(each);
  }
}

/** The built server on a file or a PostgreSQL; without one, on a new file that is removed at the end. */
export async function startServer(fileOrUrl?: string): Promise<Running> {
  const directory = fileOrUrl === undefined ? temporaryDirectory() : undefined;
  const path = fileOrUrl ?? join(directory ?? '', 'events.db');
  const nodeArguments = process.env['BENCH_NODE_ARGS']?.split(' ') ?? [];
  const child = spawn(process.execPath, [...nodeArguments, MAIN, 'serve'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      PORT: '0',
      DATABASE_URL: path.startsWith('postgres:') ? path : `sqlite:${path}`,
      LASTSEEN_ADMIN_TOKEN: 'bench',
      LASTSEEN_LOG: 'warn',
    },
  });
  const exited = once(child, 'exit');
  let said = '';
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const found = /listening on http:\/\/[^\s]*:(\d+)/.exec(said)?.[1];
      if (found !== undefined) {
        resolve(Number(found));
      }
    });
    child.once('exit', () => {
      reject(new Error(`the server ended before it listened: ${said}`));
    });
  });
  return {
    port,
    rssBytes: () => rssOf(child.pid),
    async stop() {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await exited;
      clearTimeout(late);
      if (directory !== undefined) {
        removeTemporary(directory);
      }
    },
  };
}

export interface Helper<T> {
  /** The first thing it says. */
  readonly result: Promise<T>;
  rssBytes(): number;
  stop(): Promise<void>;
}

/** A module of this folder as a process of its own, with its job as argument. */
export function startHelper<T>(module: string, job: object): Helper<T> {
  const child = fork(new URL(`./${module}.ts`, import.meta.url), [JSON.stringify(job)]);
  const exited = once(child, 'exit');
  const result = new Promise<T>((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new Error(`${module} did not answer`));
    }, HELPER_TIMEOUT_MS);
    void exited.then(() => {
      clearTimeout(late);
    });
    child.once('message', (message) => {
      resolve(message as T);
    });
    child.once('exit', (code) => {
      reject(new Error(`${module} ended with ${code}`));
    });
  });
  return {
    result,
    rssBytes: () => rssOf(child.pid),
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Runs a helper to its end. */
export async function ask<T>(module: string, job: object): Promise<T> {
  const helper = startHelper<T>(module, job);
  try {
    return await helper.result;
  } finally {
    await helper.stop();
  }
}

function rssOf(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
}
