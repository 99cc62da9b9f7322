/** Ends a command between two system calls: strace kills it at the first, the second, … call of a kind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createChance, SEED } from './chance.ts';
import { BARE_ENVIRONMENT, MAIN } from './process.ts';

/** The calls that change files. */
export const FILE_CALLS = [
  'rename',
  'link',
  'unlink',
  'fsync',
  'fdatasync',
  'ftruncate',
  'pwrite64',
] as const;

export type FileCall = (typeof FILE_CALLS)[number];

export interface KilledCommand {
  /** False if the command ended before it made that many calls. */
  readonly wasKilled: boolean;
  readonly stderr: string;
}

/** Runs a command, and kills its process in place of its `nth` call of this kind. */
export async function runKilled(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  { call, nth }: { readonly call: FileCall; readonly nth: number },
): Promise<KilledCommand> {
  const child = spawn(
    'strace',
    [
      ...['-f', '-qq', '-o', '/dev/null', '-e', `trace=${call}`],
      ...['-e', `inject=${call}:signal=KILL:when=${nth}`],
      ...[process.execPath, MAIN, ...args],
    ],
    { env: { ...BARE_ENVIRONMENT, ...environment }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { wasKilled: signal === 'SIGKILL' || code === 128 + 9, stderr };
}

/**
 * The calls at which a test kills: each one with `CHAOS_EVERY_STEP=1`, else one of `distance`, from one on that the seed
 * chooses.
 */
export function* callsToKill(distance: number): Generator<number> {
  const isEvery = process.env['CHAOS_EVERY_STEP'] === '1';
  const first = isEvery ? 1 : Math.floor(createChance(SEED).between(1, distance + 1));
  for (let nth = first; ; nth += isEvery ? 1 : distance) {
    yield nth;
  }
}
