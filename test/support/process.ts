/** The server as a process of its own, to be stopped and killed. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

export const TOKEN = 'test-admin';
/** The command as a checkout runs it: from source. */
export const MAIN = new URL('../../bin/lastseen.js', import.meta.url).pathname;

/** Of a child process that knows no setting: where programs are, and what Node has compiled before. */
export const BARE_ENVIRONMENT: Readonly<Record<string, string | undefined>> = {
  PATH: process.env['PATH'],
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
};

export interface ServerProcess {
  readonly child: ChildProcess;
  readonly url: string;
  readonly port: number;
  /** All it has said on standard output and standard error. */
  output(): string;
  /** Sends the signal and resolves with the exit code, `null` when the signal ended it. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(
  args: readonly string[],
  environment: Record<string, string>,
  wrapper: readonly string[] = [],
): ChildProcess {
  const [program = process.execPath, ...rest] = [...wrapper, process.execPath, MAIN, ...args];
  return spawn(program, rest, {
    env: { ...BARE_ENVIRONMENT, LASTSEEN_TOKEN: TOKEN, ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

/** `wrapper` is a command that runs the server, such as one that gives it a disk of its own. */
export async function startProcess(
  databasePath: string,
  settings: Record<string, string> = {},
  wrapper: readonly string[] = [],
): Promise<ServerProcess> {
  const environment = {
    PORT: '0',
    DATABASE_URL: `sqlite:${databasePath}`,
    LASTSEEN_ADMIN_TOKEN: TOKEN,
    LASTSEEN_LOG: 'warn',
    ...settings,
  };
  const child = start(['serve'], environment, wrapper);
  let output = '';
  child.stderr?.on('data', (data: Buffer) => (output += data.toString()));
  const kill = (): boolean => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  assert.ok(child.stdout !== null);
  const lines = createInterface({ input: child.stdout });
  const url = await new Promise<string>((resolve, reject) => {
    lines.on('line', (line) => {
      output += `${line}\n`;
      const found = /^lastseen listening on (http:\S+)$/.exec(line)?.[1];
      if (found !== undefined) {
        resolve(found);
      }
    });
    child.once('exit', (code) => {
      reject(new Error(`the server ended with ${code}: ${output}`));
    });
  });
  return {
    child,
    url,
    port: Number(new URL(url).port),
    output: () => output,
    async end(signal) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill(signal);
        await once(child, 'exit');
      }
      return child.exitCode;
    },
  };
}

/** Starts a server, and kills it at that moment of its start, or soon after it. */
export async function killStarting(settings: Record<string, string>, afterMs: number): Promise<void> {
  const child = start(['serve'], {
    PORT: '0',
    LASTSEEN_ADMIN_TOKEN: TOKEN,
    LASTSEEN_LOG: 'silent',
    ...settings,
  });
  const exited = once(child, 'exit');
  await Promise.race([exited, sleep(afterMs)]);
  assert.equal(child.exitCode, null, 'the server does not end by itself');
  child.kill('SIGKILL');
  await exited;
}

/** Runs a command of the command line to its end. */
export async function runCommand(
  args: readonly string[],
  environment: Record<string, string> = {},
  input = '',
): Promise<Outcome> {
  const child = start(args, environment);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** Pushes, and tells whether it was acknowledged: a lost connection is no answer. */
export async function tryPush(
  url: string,
  events: readonly unknown[],
  headers: Record<string, string> = {},
): Promise<boolean> {
  try {
    const response = await fetch(`${url}/push_events`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(events),
    });
    const text = await response.text();
    return response.status === 200 && text === 'true';
  } catch {
    return false;
  }
}
