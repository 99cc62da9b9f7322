/** lastseen query and lastseen analyst as analysts and operators use them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import Database from 'better-sqlite3';
import pg from 'pg';
import { createDatabase, runSql, startPostgresServer, type TestDatabase } from '../support/postgres.ts';
import { runCommand, startProcess, TOKEN, tryPush } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { type Service, startService } from '../support/service.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

describe('lastseen query', () => {
  let service: Service;
  let environment: Record<string, string>;
  before(async () => {
    service = await startService({ LASTSEEN_QUERY_MAX_ROWS: '3' });
    environment = { LASTSEEN_URL: service.url };
    await service.push(
      { accessid: 'a', created_at: 1, payload: { text: 'one, "two"\n\u001b[31m' } },
      { accessid: 'b', created_at: 2, payload: 2 },
    );
  });
  after(async () => service.stop());

  it('prints a table, JSON, NDJSON or CSV', async () => {
    const sql = 'select access_id, version, payload from events order by position';
    const print = async (...more: string[]): Promise<string> => {
      const outcome = await runCommand(['query', sql, ...more], environment);
      assert.equal(outcome.code, 0, outcome.stderr);
      return outcome.stdout;
    };
    assert.equal(
      await print(),
      [
        'access_id  version  payload',
        '---------  -------  ---------------------------------------',
        'a                1  {"text":"one, \\\\"two\\\\"\\\\n\\\\u001b[31m"}',
        'b                1  2',
        '2 rows',
        '',
      ].join('\n'),
    );
    assert.deepEqual(JSON.parse(await print('--format', 'json')), {
      columns: ['access_id', 'version', 'payload'],
      rows: [
        ['a', 1, '{"text":"one, \\"two\\"\\n\\u001b[31m"}'],
        ['b', 1, '2'],
      ],
      truncated: false,
    });
    assert.match(await print('--format', 'csv'), /^access_id,version,payload\r\na,1,"\{""text""/);
  });

  it('takes parameters, and the statement from standard input; says when the result is truncated', async () => {
    const asked = await runCommand(
      ['query', '-', '--format', 'csv', '--param', 'b', '2'],
      environment,
      'select access_id from events where access_id = $1 and created_at = $2',
    );
    assert.deepEqual([asked.code, asked.stdout, asked.stderr], [0, 'access_id\r\nb\r\n', '']);
    const cut = await runCommand(['query', 'values (1), (2), (3), (4)'], environment);
    assert.deepEqual([cut.code, cut.stderr.includes('truncated')], [0, true]);
  });

  it('a refusal of the server is printed with its code, and wrong use exits 2', async () => {
    const refused = await runCommand(['query', 'select * from users'], environment);
    assert.deepEqual([refused.code, /ERR_QUERY_(INVALID|REFUSED): /.test(refused.stderr)], [1, true]);
    const stranger = await runCommand(['query', 'select 1'], { ...environment, LASTSEEN_TOKEN: 'wrong' });
    assert.deepEqual([stranger.code, stranger.stderr.includes('LASTSEEN_TOKEN')], [1, true]);
    assert.equal((await runCommand(['query', 'select 1', '--format', 'xml'], environment)).code, 2);
  });
});

describe('a server that is killed while a query runs', () => {
  it('leaves no process behind that continues the query', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    const server = await startProcess(path);
    const db = new Database(path);
    let runners: readonly SystemProcess[] = [];
    const isLeft = ({ id, isEnded }: SystemProcess): boolean =>
      !isEnded && runners.some((runner) => runner.id === id);
    try {
      const sql = `with recursive n(i) as (select count(*) from events union all select i + 1 from n)
        select count(*) from n`;
      const query = fetch(`${server.url}/query`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ sql }),
      }).catch(() => undefined);
      // A statement that runs keeps its view of the log: SQLite then cannot move newer events out of the write-ahead log.
      await until(async () => {
        await tryPush(server.url, [{ accessid: 'a', created_at: 1, payload: 1 }]);
        const [wal] = db.pragma('wal_checkpoint(passive)') as { log: number; checkpointed: number }[];
        return wal !== undefined && wal.checkpointed < wal.log;
      }, 'the query to hold the write-ahead log');
      runners = processes().filter(
        ({ parent, command }) => parent === server.child.pid && command.includes('runner'),
      );
      assert.equal(runners.length, 1);
      await server.end('SIGKILL');
      await query;
      await until(() => !processes().some(isLeft), 'the end of the process that runs the query');
    } finally {
      db.close();
      await server.end('SIGKILL');
      for (const { id } of processes().filter(isLeft)) {
        process.kill(id, 'SIGKILL');
      }
      directory.remove();
    }
  });

  interface SystemProcess {
    readonly id: number;
    readonly parent: number;
    /** It has ended, and its parent has not noticed yet. */
    readonly isEnded: boolean;
    readonly command: string;
  }

  function processes(): SystemProcess[] {
    return execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,args='], { encoding: 'utf8' })
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .map(([id, parent, state = '', ...args]) => ({
        id: Number(id),
        parent: Number(parent),
        isEnded: state.startsWith('Z'),
        command: args.join(' '),
      }));
  }
});

describe('lastseen analyst', { skip: missing('PostgreSQL') }, () => {
  let database: TestDatabase;
  const role = `analyst_${process.pid}`;
  before(async () => {
    database = await createDatabase();
    assert.equal((await runCommand(['migrate'], { DATABASE_URL: database.url })).code, 0);
  });
  after(async () => {
    await database.drop();
    await runSql(database.url.replace(/\/[^/]*$/, '/postgres'), `drop role if exists ${role}`);
  });

  it('creates a role that reads the contract and nothing else, with a password that is given or printed once', async () => {
    const environment = { DATABASE_URL: database.url };
    const made = await runCommand(['analyst', 'create', '--name', role], environment);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^password, shown only once: [\w-]{32}$/m);
    const given = await runCommand(
      ['analyst', 'create', '--name', role, '--password-stdin'],
      environment,
      'correct-horse-battery\n',
    );
    assert.deepEqual([given.code, given.stdout], [0, `role: ${role}\n`], given.stderr);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'correct-horse-battery';
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    for (const name of ['events', 'event_history', 'event_counts', 'event_days', 'access_id_activity']) {
      await client.query(`select * from ${name}`);
    }
    for (const table of [
      'users',
      'tokens',
      'clients',
      'signing_keys',
      'tickets',
      'log',
      'feeds',
      'batches',
      'nodes',
    ]) {
      await assert.rejects(client.query(`select * from ${table}`), /permission denied/, table);
    }
    await client.query('set default_transaction_read_only = off');
    for (const sql of [
      `insert into events values (1, 'a', 1, 0, 0, null, '1')`,
      'delete from events',
      'truncate events',
      'drop view event_history',
      'create table mine (a int)',
      'set role postgres',
    ]) {
      await assert.rejects(client.query(sql), /permission denied|must be owner/, sql);
    }
    await client.end();
  });

  it('a short password, a foreign role and a SQLite file are refused', async () => {
    const environment = { DATABASE_URL: database.url };
    const short = await runCommand(
      ['analyst', 'create', '--name', role, '--password-stdin'],
      environment,
      'short',
    );
    assert.deepEqual([short.code, short.stderr.includes('at least 12')], [2, true]);
    assert.doesNotMatch(short.stderr, /short$/m);
    const foreign = await runCommand(['analyst', 'create', '--name', 'postgres'], environment);
    assert.deepEqual([foreign.code, foreign.stderr.includes('not created by this command')], [2, true]);
    const file = await runCommand(['analyst', 'create'], { DATABASE_URL: 'sqlite:./none.db' });
    assert.deepEqual([file.code, file.stderr.includes('read-only')], [2, true]);
  });
});

describe('a PostgreSQL user without rights over roles', { skip: missing('PostgreSQL') }, () => {
  it('runs everything but queries, which say what is missing, until somebody who may has made the roles', async () => {
    const server = await startPostgresServer();
    try {
      await runSql(server.url, 'create role plain login');
      await runSql(server.url, 'create database plain owner plain');
      const admin = new URL(server.url);
      admin.pathname = '/plain';
      const plain = new URL(admin);
      plain.username = 'plain';
      const service = await startService({ DATABASE_URL: plain.href });
      await service.push({ accessid: 'a', created_at: 1, payload: 1 });
      const refused = await service.post('/query', { sql: 'select 1' });
      assert.equal(refused.status, 501, await refused.clone().text());
      assert.match(await refused.text(), /lastseen_query and lastseen_restricted/);
      const made = await runCommand(['analyst', 'create'], { DATABASE_URL: admin.href });
      assert.equal(made.code, 0, made.stderr);
      await runSql(admin.href, 'grant lastseen_query, lastseen_restricted to plain');
      const answered = await service.post('/query', { sql: 'select count(*) from events' });
      assert.equal(answered.status, 200, await answered.clone().text());
      const token = await service.post('/tokens', { scope: 'query', access_ids: ['a'] });
      const { access_token: secret } = (await token.json()) as { access_token: string };
      const part = await service.post(
        '/query',
        { sql: 'select access_id from event_history' },
        { Authorization: `Bearer ${secret}` },
      );
      assert.deepEqual(((await part.json()) as { rows: unknown }).rows, [['a']]);
      await service.stop();
    } finally {
      await server.remove();
    }
  });
});
