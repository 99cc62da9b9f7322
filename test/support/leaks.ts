/**
 * Loaded before each test file (`run.ts`): a file that leaves something behind fails, and standard error names what it
 * left. An open handle keeps the process running, so the check then comes some time after the last test; otherwise it
 * comes when the process has nothing left to do.
 */
import { execFileSync } from 'node:child_process';
import { type AddressInfo, Server, Socket } from 'node:net';
import { after } from 'node:test';
import { isMainThread } from 'node:worker_threads';
import { LEFT_BEHIND, namesLeft } from './possessions.ts';

/** What closes by itself after the last test has closed by then. */
const CLOSING_MS = 10_000;

let hasChecked = false;

// A thread of a test file loads what its process loads.
if (isMainThread) {
  after(() => {
    setTimeout(() => void endLeaking(), CLOSING_MS).unref();
  });
  process.on('beforeExit', () => void check({ isRunning: false }));
}

/** Something keeps the process running. */
async function endLeaking(): Promise<void> {
  await check({ isRunning: true });
  process.exit(1);
}

async function check({ isRunning }: { readonly isRunning: boolean }): Promise<void> {
  if (hasChecked) {
    return;
  }
  hasChecked = true;
  const running = isRunning ? [...handles(), ...children()] : children();
  if (isRunning && running.length === 0) {
    running.push('something that keeps the process running, such as a worker thread');
  }
  const left = [...running, ...(await namesLeft())];
  if (left.length > 0) {
    process.exitCode = 1;
    process.stderr.write(left.map((name) => `${LEFT_BEHIND}${name}\n`).join(''));
  }
}

/** What keeps the process running, without its standard streams. */
function handles(): string[] {
  // Undocumented, and the one place that has the objects; without it the kinds are named all the same.
  const list: unknown = Reflect.get(process, '_getActiveHandles');
  const active: unknown = typeof list === 'function' ? Reflect.apply(list, process, []) : [];
  const named = (Array.isArray(active) ? active : []).flatMap((handle: unknown) => nameOf(handle) ?? []);
  const kinds = process.getActiveResourcesInfo().filter((kind) => !kind.endsWith('Wrap'));
  return [...named, ...kinds.map((kind) => `open handle of kind ${kind}`)];
}

/** Child processes have a list of their own. */
function nameOf(handle: unknown): string | undefined {
  if (handle instanceof Server) {
    const address = handle.address();
    return `listening socket ${typeof address === 'string' ? address : addressText(address)}`;
  }
  if (handle instanceof Socket && handle.remotePort !== undefined) {
    return `connection to ${handle.remoteAddress ?? ''}:${handle.remotePort}`;
  }
  return undefined;
}

function addressText(address: AddressInfo | null): string {
  return address === null ? '' : `${address.address}:${address.port}`;
}

/** The process that looks for them, and what `esbuild` starts for its caller and ends with it. */
const EXPECTED = /^ps -A |\besbuild --service=/;

function children(): string[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,args='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([, parent, state = '', ...command]) =>
        Number(parent) === process.pid && !state.startsWith('Z') && !EXPECTED.test(command.join(' ')),
    )
    .map(([id = '', , , ...command]) => `child process ${id} ${command.join(' ').slice(0, 200)}`);
}
