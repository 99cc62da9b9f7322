/**
 * A primary and a standby with streaming replication, from the binaries that npm brings, and the ways in which a primary
 * is lost. Clients reach the primary through a proxy, and so does the standby, so that each can be cut off in silence.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from './free-port.ts';
import { runSql } from './postgres.ts';
import { POSTGRES_PACKAGE } from './programs.ts';
import { type Proxy, startProxy } from './proxy.ts';
import { temporaryDirectory } from './temporary.ts';
import { until } from './until.ts';

/** The user `nobody`, wherever this runs: PostgreSQL does not run as root. */
const NOBODY = 65_534;
const IS_ROOT = process.getuid?.() === 0;
const IDENTITY = IS_ROOT ? { uid: NOBODY, gid: NOBODY } : {};

/** Names the standby in `synchronous_standby_names`. */
const STANDBY = 'standby';

/** Kills what runs when the process of the test ends before it does. */
const killers = new Set<() => void>();
process.once('exit', () => {
  for (const kill of killers) {
    kill();
  }
});

/** How a primary is lost. */
export type Loss = 'killed' | 'stopped' | 'cut off in silence';

export interface ReplicatedPair {
  /** Both hosts, in the form of libpq. */
  readonly url: string;
  /** The primary past the proxy. */
  readonly primaryUrl: string;
  readonly standbyUrl: string;
  /** Between clients and the primary. */
  readonly path: Proxy;
  readonly standbyPort: number;
  /** From now on nothing reaches the standby. */
  holdReplication(): void;
  lose(loss: Loss): void;
  /** After it was killed: it recovers from its write-ahead log. */
  restartPrimary(): Promise<void>;
  /** Makes the standby a primary. */
  promote(): Promise<void>;
  remove(): Promise<void>;
}

export interface PairOptions {
  /** The primary answers a commit only when the standby has flushed it. */
  readonly isSynchronous: boolean;
}

export async function startReplicatedPair({ isSynchronous }: PairOptions): Promise<ReplicatedPair> {
  const directory = temporaryDirectory();
  if (IS_ROOT) {
    chmodSync(directory.path, 0o755);
  }
  const primary = await createMachine(join(directory.path, 'primary'));
  await primary.initialize();
  await primary.start();
  const replication = await startProxy(primary.port);
  const path = await startProxy(primary.port);
  const standby = await createMachine(join(directory.path, 'standby'));
  await copyRunning(primary, standby);
  standby.write('standby.signal', '');
  standby.write(
    'postgresql.auto.conf',
    `primary_conninfo = 'host=127.0.0.1 port=${replication.port} user=postgres application_name=${STANDBY}'\n`,
  );
  await standby.start();
  await until(
    async () =>
      (await runSql(primary.url, `select 1 from pg_stat_replication where state = 'streaming'`)).rows.length >
      0,
    'the standby to stream',
  );
  if (isSynchronous) {
    await runSql(primary.url, `alter system set synchronous_standby_names = '${STANDBY}'`);
    await runSql(primary.url, 'select pg_reload_conf()');
    await until(
      async () =>
        (await runSql(primary.url, `select 1 from pg_stat_replication where sync_state = 'sync'`)).rows
          .length > 0,
      'the standby to be synchronous',
    );
  }
  return {
    url: `postgres://postgres@127.0.0.1:${path.port},127.0.0.1:${standby.port}/postgres?target_session_attrs=read-write`,
    primaryUrl: primary.url,
    standbyUrl: standby.url,
    path,
    standbyPort: standby.port,
    holdReplication() {
      replication.silence();
    },
    lose(loss) {
      if (loss === 'killed') {
        primary.signal('SIGKILL');
      } else if (loss === 'stopped') {
        primary.signal('SIGSTOP');
      } else {
        path.silence();
        replication.silence();
      }
    },
    restartPrimary: primary.restart,
    async promote() {
      await runSql(standby.url, 'select pg_promote(true, 60)');
    },
    async remove() {
      await primary.remove();
      await standby.remove();
      await path.close();
      await replication.close();
      directory.remove();
    },
  };
}

interface Machine {
  readonly data: string;
  readonly port: number;
  readonly url: string;
  initialize(): Promise<void>;
  start(): Promise<void>;
  /** Starts it once it has ended. */
  restart(): Promise<void>;
  /** To the server and all its processes. */
  signal(signal: 'SIGKILL' | 'SIGSTOP'): void;
  /** A file of its data directory. */
  write(name: string, text: string): void;
  remove(): Promise<void>;
}

async function createMachine(data: string): Promise<Machine> {
  const { initdb, postgres } = (await import(POSTGRES_PACKAGE)) as { initdb: string; postgres: string };
  const port = await freePort();
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  let child: ChildProcess | undefined;
  mkdirSync(data, { mode: 0o700 });
  if (IS_ROOT) {
    chownSync(data, NOBODY, NOBODY);
  }

  const signal = (name: NodeJS.Signals): void => {
    const processId = child?.pid;
    if (processId === undefined || child?.exitCode !== null || child.signalCode !== null) {
      return;
    }
    // Stopped first, it starts no process while its processes are listed.
    process.kill(processId, 'SIGSTOP');
    for (const id of [...childrenOf(processId), processId]) {
      try {
        process.kill(id, name);
      } catch {
        // It has just ended.
      }
    }
  };
  const kill = (): void => {
    signal('SIGKILL');
  };

  async function start(): Promise<void> {
    const options = {
      port: String(port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      shared_buffers: '16MB',
      wal_level: 'replica',
      wal_keep_size: '256MB',
      hot_standby: 'on',
    };
    const flags = Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const started = spawn(postgres, ['-D', data, ...flags], {
      ...IDENTITY,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = started;
    let said = '';
    started.stderr.on('data', (text: Buffer) => (said = (said + text.toString()).slice(-4_000)));
    killers.add(kill);
    started.once('exit', () => killers.delete(kill));
    await until(
      async () => {
        if (started.exitCode !== null) {
          throw new Error(`postgres ended: ${said}`);
        }
        return runSql(url, 'select 1').then(
          () => true,
          () => false,
        );
      },
      () => `the start of postgres: ${said}`,
    );
  }

  return {
    data,
    port,
    url,
    initialize() {
      chmodSync(initdb, 0o755);
      chmodSync(postgres, 0o755);
      execFileSync(initdb, ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '-N'], {
        ...IDENTITY,
        stdio: 'pipe',
      });
      return Promise.resolve();
    },
    start,
    async restart() {
      if (child?.exitCode === null && child.signalCode === null) {
        await once(child, 'exit');
      }
      // Processes of a killed server can hold its memory for a moment longer.
      await until(
        () =>
          start().then(
            () => true,
            (error: unknown) => {
              if (/memory block .* is still in use/.test(String(error))) {
                return false;
              }
              throw error;
            },
          ),
        'the memory of the killed server to be free',
      );
    },
    signal,
    write(name, text) {
      const path = join(data, name);
      writeFileSync(path, text, { mode: 0o600 });
      if (IS_ROOT) {
        chownSync(path, NOBODY, NOBODY);
      }
    },
    async remove() {
      const ending = child;
      if (ending === undefined) {
        return;
      }
      const memory = sharedMemoryOf(data);
      kill();
      if (ending.exitCode === null && ending.signalCode === null) {
        await once(ending, 'exit');
      }
      if (memory !== undefined) {
        // A server that is killed leaves its segment to the next start.
        spawnSync('ipcrm', ['-m', memory]);
      }
    },
  };
}

/** The id of the shared memory of a server: the second number of the line of `postmaster.pid` that has two. */
function sharedMemoryOf(data: string): string | undefined {
  try {
    return /^[ \t]*\d+[ \t]+(\d+)[ \t]*$/m.exec(readFileSync(join(data, 'postmaster.pid'), 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

function childrenOf(parent: number): number[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([id = 0, of]) => (of === parent ? [id] : []));
}

/** A base backup of a running server by the functions for it: the package has no pg_basebackup. */
async function copyRunning(from: Machine, to: Machine): Promise<void> {
  const client = new pg.Client({ connectionString: from.url });
  await client.connect();
  try {
    await client.query(`select pg_backup_start('standby', true)`);
    execFileSync('cp', ['-R', `${from.data}/.`, to.data], { ...IDENTITY, stdio: 'pipe' });
    const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)');
    for (const name of ['postmaster.pid', 'postmaster.opts']) {
      rmSync(join(to.data, name), { force: true });
    }
    to.write('backup_label', rows[0]?.labelfile ?? '');
  } finally {
    await client.end();
  }
}
