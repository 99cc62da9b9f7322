/** A pgbouncer in transaction mode, in front of the server that an address names. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { runSql } from './postgres.ts';
import { temporaryDirectory } from './temporary.ts';
import { until } from './until.ts';

/** The user `nobody`: it does not run as root. */
const NOBODY = 65_534;

export interface Pooler {
  /** The address through the pooler. */
  readonly url: string;
  stop(): Promise<void>;
}

export async function startPgbouncer(databaseUrl: string): Promise<Pooler> {
  const direct = new URL(databaseUrl);
  const directory = temporaryDirectory();
  const port = await freePort();
  const file = (name: string, text: string): string => {
    const path = join(directory.path, name);
    writeFileSync(path, text);
    chmodSync(path, 0o644);
    return path;
  };
  const users = file(
    'users.txt',
    `"${decodeURIComponent(direct.username)}" "${decodeURIComponent(direct.password)}"\n`,
  );
  const config = file(
    'pgbouncer.ini',
    `[databases]
* = host=${direct.hostname} port=${direct.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${users}
pool_mode = transaction
max_client_conn = 200
default_pool_size = 20
server_login_retry = 1
`,
  );
  chmodSync(directory.path, 0o755);
  const identity = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  const pooler = spawn('pgbouncer', ['-q', config], { stdio: 'ignore', ...identity });
  const pooled = new URL(databaseUrl);
  pooled.port = String(port);
  await until(
    () =>
      runSql(pooled.href, 'select 1').then(
        () => true,
        () => false,
      ),
    'the start of pgbouncer',
  );
  return {
    url: pooled.href,
    async stop() {
      pooler.kill('SIGKILL');
      if (pooler.exitCode === null && pooler.signalCode === null) {
        await once(pooler, 'exit');
      }
      directory.remove();
    },
  };
}
