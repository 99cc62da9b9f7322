/** A hostile analyst, on both engines: whatever is asked, nothing is revealed, changed, locked or slept through. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eachEngine, type EngineDatabase } from '../engines/each-engine.ts';
import { type Problem, type Service, startService } from '../support/service.ts';

const CANARY = 'canary-8d1f';
const HIDDEN = 'hidden-5c2e';

/** Refused on both engines. */
const EVERYWHERE = [
  '',
  ';',
  'selec 1',
  'select 1; select 2',
  'select 1; drop table events',
  "insert into events values (9, 'a', 9, 0, 0, null, '1')",
  "update events set payload = '1'",
  'delete from events',
  'drop table events',
  'create table t (a int)',
  'create temp table t as select 1',
  'create view v as select 1',
  'alter table events add column a int',
  'vacuum',
  'explain select * from users',
  'begin',
  'commit',
  'rollback',
  'savepoint a',
  'analyze',
  'reindex',
  '/* select */ delete from events',
  '-- select\ndelete from events',
  'with gone as (delete from events returning *) select * from gone',
  "with made as (insert into events values (9, 'a', 9, 0, 0, null, '1') returning *) select * from made",
  'select * from users',
  'select * from tokens',
  'select * from clients',
  'select * from signing_keys',
  'select * from tickets',
  'select * from log',
  'select * from feeds',
  'select * from batches',
  'select * from segments',
  'select * from pending_import',
  'select * from knex_migrations',
  'select * from "users"',
  'select * from USERS',
  'select (select nickname from users limit 1)',
  'select * from events where access_id in (select nickname from users)',
  'with events as (select * from users) select * from events',
  'select * from events union all select private_jwk, 1, 1, 1, 1, 1, 1 from signing_keys',
  'select * from events e join users u on 1 = 1',
  'select exists (select 1 from tokens)',
  'select count(*) from (select * from (select * from clients) a) b',
  'select 1 where (select count(*) from signing_keys) > 0',
  'select * from events order by (select min(token_hash) from tokens)',
  'select 1 /* a /* b */ */',
  'select 1 -- a\r, (select 1 from users)\n',
  "select E'\\' , nickname from users --'",
  'select U&"\\0075sers" from events',
  "select U&'\\0061' from events",
  "select 'open",
  'select "open',
  'select 1 /* open',
  'select 1 \u0000 from events',
  `select ${'1+'.repeat(40_000)}1`,
  'select 1from users',
  'select 1pg_sleep(1)',
  'select 1.users',
  'select randomblob(10)',
  "select load_extension('/tmp/x')",
  'select pg_sleep(30)',
  'select $1',
  'select ?',
  'select @a',
  'select :a',
  'select * from nothing_at_all',
  'select nothing from events',
];

const SQLITE = [
  'select',
  'select * from sqlite_master',
  'select * from sqlite_schema',
  'select sql from sqlite_temp_master',
  'select * from temp.sqlite_master',
  'select * from main.sqlite_master',
  'select * from main.events',
  'select * from main.users',
  'select * from [users]',
  'select * from `users`',
  'select * from main . users',
  'select * from event_index',
  'select * from sqlite_sequence',
  'select * from sqlite_stat1',
  'select * from sqlite_stat4',
  "select * from pragma_table_info('users')",
  'select * from pragma_database_list',
  'select * from pragma_table_list',
  'select * from pragma_function_list',
  "select * from pragma_journal_mode('delete')",
  'select * from pragma_wal_checkpoint',
  'select * from dbstat',
  'select * from sqlite_dbpage',
  'select * from fts5vocab',
  'pragma table_info(users)',
  'pragma query_only = off',
  'pragma writable_schema = on',
  'pragma journal_mode = delete',
  "attach '/tmp/stolen.db' as stolen",
  'detach main',
  "vacuum into '/tmp/stolen.db'",
  "select writefile('/tmp/stolen', 'x')",
  "select readfile('/etc/passwd')",
  "select edit('x')",
  'select zeroblob(1000000000)',
  'select hex(randomblob(1000000))',
  'select sqlite_attach(1, 2, 3)',
  'select sqlite_version(), sqlite_source_id()',
  "select sqlite_compileoption_used('X')",
  'select last_insert_rowid()',
  'select changes(), total_changes()',
  "select fts3_tokenizer('simple')",
  "select * from json_each('[1]') j join users on 1 = 1",
  "select * from events where access_id match 'x'",
  'select * from generate_series(1, 1000000000)',
  'values ((select token_hash from tokens))',
  "replace into events values (1, 'a', 1, 0, 0, null, '1')",
];

const POSTGRES = [
  // A function of one argument, called as if it were a column.
  "select ('select to_tsvector(''simple'', current_setting(''is_superuser''))'::text).ts_stat",
  "select (('select to_tsvector(''simple'', set_config(''role'',''none'',true))'::text).ts_stat).word",
  `select (array['select 1'::text])[1].ts_stat`,
  `select a[1].ts_stat from (select array['select 1'::text] as a) w`,
  `select (w).q.ts_stat from (select 'select 1'::text as q) w`,
  `select w.ts_stat from unnest(array['select 1'::text]) as w`,
  `select (select 'select 1'::text).ts_stat`,
  `select ('select 1'::text)."ts_stat"`,
  `select (('select 1'::text).ts_stat).*`,
  `select ('users'::text).to_regclass::oid`,
  `select ('{}'::jsonb).jsonb_pretty`,
  `select ('a'::text).quote_ident`,
  // A list of columns that is none.
  `select * from (select cast('[{"values":"x"}]' as json) as q) w, json_to_recordset (q) as (values text)`,
  // What would fill the memory of the database.
  'select array_agg(payload) from events',
  'select json_agg(payload) from events',

  'select * from writers',
  'select * from nodes',
  'select * from public.users',
  'select * from only users',
  'table users',
  'select * from (table users) t',
  'select * from pg_authid',
  'select * from pg_shadow',
  'select * from pg_roles',
  'select * from pg_stat_activity',
  'select * from pg_settings',
  'select * from "pg_class"',
  'select * from pg_catalog.pg_class',
  'select * from information_schema.tables',
  'select pg_catalog.pg_sleep(30)',
  'select "pg_sleep"(30)',
  'select pg_sleep /* */ (30)',
  'select pg_sleep\n(30)',
  'select PG_SLEEP(30)',
  "select pg_sleep_for('30 s')",
  'select * from pg_sleep(30)',
  'select * from rows from (pg_sleep(30))',
  'select * from lateral pg_sleep(30) s',
  'select pg_advisory_lock(4793211001)',
  'select pg_try_advisory_xact_lock(1)',
  "select set_config('role', 'postgres', false)",
  "select set_config('transaction_read_only', 'off', true)",
  "select current_setting('is_superuser')",
  'select current_user',
  'select session_user',
  'select user',
  'select version()',
  'select inet_server_addr()',
  "select pg_read_file('/etc/passwd')",
  "select pg_read_binary_file('/etc/passwd')",
  "select pg_ls_dir('/')",
  "select pg_stat_file('/etc/passwd')",
  "select lo_import('/etc/passwd')",
  "select lo_export(1, '/tmp/stolen')",
  "select * from dblink('', 'select 1') as t(a int)",
  "select 1 from events, dblink('x') as (a int)",
  "select query_to_xml('select * from users', true, true, '')",
  "select table_to_xml('users', true, true, '')",
  "select database_to_xml(true, true, '')",
  "select cursor_to_xml('question', 1, true, true, '')",
  "select ts_stat('select nickname from users')",
  'select pg_terminate_backend(1)',
  'select pg_cancel_backend(1)',
  "select pg_notify('lastseen', '')",
  'select pg_reload_conf()',
  'select pg_switch_wal()',
  "select nextval('knex_migrations_id_seq')",
  "select lastseen_append(1, '', 1, true, 1, 1, null, null, null, null, null, null, null, null)",
  "select 'users'::regclass",
  "select regclass 'users'",
  "select 'users'::regclass::oid",
  "select cast('users' as regclass)",
  "select has_table_privilege('users', 'select')",
  "select repeat('x', 1000000000)",
  "select lpad('x', 1000000000)",
  "select format('%1000000000s', 'x')",
  'select * from generate_series(1, 1000000000)',
  'select 1 operator(pg_catalog.+) 1',
  'select * from events for update',
  'select * from events for share',
  'select * into stolen from events',
  "copy events to '/tmp/stolen'",
  "copy events to program 'id'",
  'do $$ begin perform pg_sleep(30); end $$',
  'select $a$ x $a$',
  'call x()',
  'listen lastseen',
  'notify lastseen',
  'lock table events',
  'set role postgres',
  'reset role',
  'set session authorization postgres',
  'show all',
  'prepare a as select 1',
  'execute a',
  'declare c cursor for select 1',
  'fetch 1 from question',
  'close question',
  'discard all',
  'grant lastseen_query to postgres',
  'create extension dblink',
  "load 'x'",
  'truncate events',
  'merge into events using users on true when matched then delete',
  'refresh materialized view x',
  'with a as materialized (select * from users) select * from a',
  'with pg_sleep(a) as (select 1) select pg_sleep(30)',
  "select (xpath('/', query_to_xml('select 1', true, true, '')))",
  'select e.*, pg_sleep(1) from events e',
  'select distinct on (1) pg_sleep(1)',
  'select * from events tablesample bernoulli (10)',
];

describe('a hostile analyst', () => {
  eachEngine((engine) => {
    let service: Service;
    let database: EngineDatabase;
    let restricted: Record<string, string>;
    before(async () => {
      database = await engine.createDatabase();
      service = await startService(database.settings);
      await service.push(
        ...[1, 2, 3].map((payload) => ({ accessid: 'seen', created_at: payload, payload })),
        { accessid: HIDDEN, created_at: 1, payload: { secret: CANARY } },
      );
      const user = await service.post(
        '/api/json/accounts/users',
        { data: { type: 'user', attributes: { nickname: CANARY } } },
        { 'Content-Type': 'application/vnd.api+json' },
      );
      assert.equal(user.status, 201);
      const token = await service.post('/tokens', { scope: 'query', access_ids: ['seen'] });
      const { access_token: secret } = (await token.json()) as { access_token: string };
      restricted = { Authorization: `Bearer ${secret}` };
    });
    after(() => service.stop());

    /** Everything that a query could have changed. */
    async function state(): Promise<unknown> {
      if (engine.name === 'SQLite') {
        const tables = ['events', 'users', 'tokens', 'signing_keys', 'sqlite_master'];
        const counts = tables.map((table) => `(select count(*) from ${table}) as ${table}`);
        return [
          await database.rows(`select ${counts.join()}`),
          readdirSync(dirname(service.databasePath)).sort(),
        ];
      }
      return database.rows(
        `select (select count(*) from events), (select count(*) from users), (select count(*) from tokens),
                (select count(*) from pg_class), (select count(*) from pg_roles), (select count(*) from pg_extension),
                (select count(*) from pg_locks where locktype = 'advisory'
                   and database = (select oid from pg_database where datname = current_database())),
                (select nickname from users)`,
      );
    }

    for (const [who, headers] of [
      ['an admin', () => ({})],
      ['a restricted token', () => restricted],
    ] as const) {
      it(`each escape of ${who} is refused with a clear error, and nothing changes or shows`, async () => {
        const before = await state();
        for (const sql of [...EVERYWHERE, ...(engine.name === 'SQLite' ? SQLITE : POSTGRES)]) {
          const response = await service.post('/query', { sql }, headers());
          const text = await response.text();
          const said = `${sql.slice(0, 100)} → ${response.status} ${text.slice(0, 300)}`;
          const problem = JSON.parse(text) as Problem;
          assert.ok([400, 403, 422].includes(response.status), said);
          assert.match(problem.code, /^ERR_QUERY_(INVALID|REFUSED|LIMIT)$/, said);
          assert.ok(problem.detail.length > 5, said);
          assert.doesNotMatch(text, /canary|x[0-9a-f]{32}|"kty"|postgres:\/\//, said);
          // Refused before it runs, and not ended while it sleeps.
          assert.ok(!sql.includes('pg_sleep') || problem.code !== 'ERR_QUERY_LIMIT', said);
        }
        assert.deepEqual(await state(), before);
        const well = await service.post('/query', { sql: 'select count(*) from events' }, headers());
        assert.equal(well.status, 200);
      });
    }

    it('a token without the scope, and no token at all, ask nothing', async () => {
      const response = await service.post('/tokens', { scope: 'subscribe push', access_ids: ['*'] });
      const { access_token: secret } = (await response.json()) as { access_token: string };
      const ask = (headers: Record<string, string>): Promise<Response> =>
        fetch(`${service.url}/query`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json', ...headers },
          body: '{"sql":"select 1"}',
        });
      assert.equal((await ask({ Authorization: `Bearer ${secret}` })).status, 403);
      assert.equal((await ask({})).status, 401);
    });

    it('what a restricted token does not cover stays hidden in every view, and from conditions that fail on it', async () => {
      const ask = (sql: string): Promise<Response> => service.post('/query', { sql }, restricted);
      for (const source of [
        'events',
        'event_history',
        'event_counts',
        'event_gaps',
        'event_delays',
        'access_id_activity',
      ]) {
        const response = await ask(`select distinct access_id from ${source}`);
        assert.deepEqual(((await response.json()) as { rows: unknown }).rows, [['seen']], source);
        const all = await (await service.post('/query', { sql: `select * from ${source}` })).text();
        assert.ok(all.includes(HIDDEN), `an admin sees all of ${source}`);
      }
      const days = (await (await ask('select events, access_ids from event_days')).json()) as {
        rows: unknown;
      };
      assert.deepEqual(days.rows, [[3, 1]]);
      const around =
        engine.name === 'SQLite'
          ? ['main.events', 'temp.users', 'event_index']
          : ['public.events', 'public.event_history'];
      for (const source of around) {
        assert.ok([400, 403].includes((await ask(`select * from ${source}`)).status), source);
      }
      // Each would fail, and so tell, if it were tried on a hidden row.
      const oracles =
        engine.name === 'SQLite'
          ? [
              `select count(*) from events where case when payload like '%secret%' then abs(-9223372036854775807 - 1) else 1 end`,
              `select count(*) from event_history where case when access_id <> 'seen' then json('{') else 1 end is not null`,
            ]
          : [
              `select count(*) from events where case when payload::text like '%secret%' then 1 / (position - position) else 1 end = 1`,
              `select count(*) from event_history where case when access_id <> 'seen' then cast(access_id as int) else 1 end = 1`,
            ];
      for (const sql of oracles) {
        const response = await ask(sql);
        assert.equal(response.status, 200, await response.clone().text());
        assert.deepEqual(((await response.json()) as { rows: unknown }).rows, [[3]]);
        assert.equal((await service.post('/query', { sql })).status, 400, 'it does fail on the hidden row');
      }
    });

    it('a prefix covers what it names and no more; what begins with $ only by its name', async () => {
      await service.push(
        ...['shop-1', "shop-'2", 'shop', 'sho%p-', 'Shop-3'].map((accessid) => ({
          accessid,
          created_at: 1,
          payload: 1,
        })),
      );
      const seen = async (...patterns: string[]): Promise<unknown[]> => {
        const token = await service.post('/tokens', { scope: 'query', access_ids: patterns });
        const { access_token: secret } = (await token.json()) as { access_token: string };
        const response = await service.post(
          '/query',
          { sql: 'select distinct access_id from event_history order by access_id' },
          { Authorization: `Bearer ${secret}` },
        );
        assert.equal(response.status, 200, `${patterns.join()}: ${await response.clone().text()}`);
        return ((await response.json()) as { rows: unknown[][] }).rows.flat();
      };
      assert.deepEqual(await seen('shop-*'), ["shop-'2", 'shop-1']);
      assert.deepEqual(await seen("shop-'2", 'nobody'), ["shop-'2"]);
      assert.deepEqual(await seen('%', 'shop_*'), []);
      assert.deepEqual(await seen('*'), ['Shop-3', HIDDEN, 'seen', 'sho%p-', 'shop', "shop-'2", 'shop-1']);
      assert.deepEqual(await seen('$control', '$users'), ['$control', '$users']);
      const many = Array.from({ length: 99 }, (_, at) => `none-${at}-*`);
      assert.deepEqual(await seen(...many, 'shop'), ['shop']);
    });
  });
});
