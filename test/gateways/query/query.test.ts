/** POST /query over the wire, on both engines: its formats, its limits, and that it ends when nobody waits. */
import assert from 'node:assert/strict';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { eachEngine, type EngineDatabase } from '../../engines/each-engine.ts';
import { type Problem, type Service, startService, TOKEN } from '../../support/service.ts';
import { until } from '../../support/until.ts';

interface Answer {
  readonly columns: string[];
  readonly rows: unknown[][];
  readonly truncated: boolean;
}

const LIMITS = {
  LASTSEEN_QUERY_TIMEOUT_MS: '2500',
  LASTSEEN_QUERY_MAX_ROWS: '1000',
  LASTSEEN_QUERY_MAX_BYTES: '100000',
  LASTSEEN_QUERY_CONCURRENCY: '2',
  LASTSEEN_QUERY_MEMORY_BYTES: '268435456',
};

const ENDLESS =
  'with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n where i < 0';

const JSON_TYPE = { 'Content-Type': 'application/json' };

describe('POST /query', () => {
  eachEngine((engine) => {
    let service: Service;
    let database: EngineDatabase;
    before(async () => {
      database = await engine.createDatabase();
      service = await startService({ ...LIMITS, ...database.settings });
      await service.push(
        ...[1, 2, 3].map((at) => ({
          accessid: 'a',
          created_at: at,
          payload: { n: at, text: `t${at}` },
        })),
      );
    });
    after(() => service.stop());

    const ask = (
      sql: unknown,
      params: unknown = [],
      headers: Record<string, string> = {},
    ): Promise<Response> => service.post('/query', { sql, params }, headers);

    async function rows(sql: string, params: unknown[] = []): Promise<unknown[][]> {
      const response = await ask(sql, params);
      assert.equal(response.status, 200, await response.clone().text());
      return ((await response.json()) as Answer).rows;
    }

    /** Queries that run, as the store sees them. */
    async function isQuiet(): Promise<boolean> {
      if (engine.name === 'SQLite') {
        return true;
      }
      const found = await database.rows(
        `select 1 from pg_stat_activity where application_name = 'lastseen-query' and state = 'active'
           and datname = current_database()`,
      );
      return found.length === 0;
    }

    it('JSON: columns, rows, and whether it was cut', async () => {
      const response = await ask('select version, payload, event_id from events order by position;');
      assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8');
      assert.equal(response.headers.get('cache-control'), 'no-store');
      assert.deepEqual(await response.json(), {
        columns: ['version', 'payload', 'event_id'],
        rows: [1, 2, 3].map((at) => [at, `{"n":${at},"text":"t${at}"}`, null]),
        truncated: false,
      });
      assert.deepEqual(await (await ask('select version from events where 1 = 0')).json(), {
        columns: ['version'],
        rows: [],
        truncated: false,
      });
    });

    it('numbers come out as the database has them, and integers beyond 2^53 as text', async () => {
      const text = await (await ask('select 9007199254740993, 9007199254740991, -1.5, 0.1')).text();
      assert.match(text, /"rows":\[\["9007199254740993",9007199254740991,-1\.5,0\.1\]\]/);
    });

    it('parameters are $1, $2, … and never become part of the statement', async () => {
      const found = await rows(
        'select version from events where access_id = $1 and version >= $2 and $1 is not null order by 1',
        ['a', 2],
      );
      assert.deepEqual(found, [[2], [3]]);
      assert.deepEqual(await rows('select count(*) from events where access_id = $1', ["' or 1 = 1 --"]), [
        [0],
      ]);
      assert.deepEqual(await rows('select count(*) from events where event_id = $1', [null]), [[0]]);
      for (const [sql, params, code] of [
        ['select $1', [], 'ERR_QUERY_INVALID'],
        ['select 1', ['spare'], 'ERR_QUERY_INVALID'],
        ['select $2', ['a', 'b'], 'ERR_QUERY_INVALID'],
        ['select $1', [{}], 'ERR_REQUEST_INVALID'],
        ['select $1', ['\u0000'], 'ERR_REQUEST_INVALID'],
        ['select 1', 'no array', 'ERR_REQUEST_INVALID'],
        [7, [], 'ERR_REQUEST_INVALID'],
      ] as const) {
        const response = await ask(sql, params);
        const problem = (await response.json()) as Problem;
        assert.deepEqual([response.status, problem.code], [400, code], JSON.stringify([sql, params]));
        assert.match(problem.errors?.[0]?.pointer ?? '', /^\/(sql|params)/);
      }
      const unknown = await service.post('/query', { sql: 'select 1', limit: 7 });
      assert.equal(((await unknown.json()) as Problem).errors?.[0]?.pointer, '/limit');
    });

    it('NDJSON: an object a row; CSV: RFC 4180, with formulas disarmed', async () => {
      const sql =
        `select * from (values (1, 'plain', 'a"b,c'), (2, '', null), (-3, '=1+1', '+cmd'), (4, '-5', '@x'), (5, 'two
lines', '- item')) as t order by 1`.replace(
          'as t',
          engine.name === 'SQLite' ? '' : 'as t(column1, column2, column3)',
        );
      const ndjson = await ask(sql, [], { Accept: 'application/x-ndjson' });
      assert.equal(ndjson.headers.get('content-type'), 'application/x-ndjson; charset=utf-8');
      assert.deepEqual(
        (await ndjson.text())
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line) as unknown)
          .slice(0, 2),
        [
          { column1: -3, column2: '=1+1', column3: '+cmd' },
          { column1: 1, column2: 'plain', column3: 'a"b,c' },
        ],
      );
      const csv = await ask(sql, [], { Accept: 'text/csv' });
      assert.equal(csv.headers.get('content-type'), 'text/csv; charset=utf-8; header=present');
      assert.equal(csv.headers.get('lastseen-truncated'), 'false');
      assert.equal(
        await csv.text(),
        `column1,column2,column3\r\n-3,'=1+1,'+cmd\r\n1,plain,"a""b,c"\r\n2,"",\r\n4,-5,'@x\r\n5,"two\nlines",'- item\r\n`,
      );
      const twice = await ask('select 1 as a, 2 as a', [], { Accept: 'application/x-ndjson' });
      assert.equal(await twice.text(), '{"a":1,"a_2":2}\n');
      assert.equal((await ask(sql, [], { Accept: 'image/png' })).status, 406);
      assert.equal((await ask(sql, [], { 'Content-Type': 'text/plain' })).status, 415);
      assert.equal((await service.fetch('/query')).status, 405);
    });

    it('what is more than the rows or bytes of an answer is cut off, and said to be', async () => {
      const many = (count: number): string =>
        `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count}) select i from n order by i`;
      const cut = (await (await ask(many(1_001))).json()) as Answer;
      assert.deepEqual([cut.rows.length, cut.rows.at(-1), cut.truncated], [1_000, [1_000], true]);
      const whole = (await (await ask(many(1_000))).json()) as Answer;
      assert.deepEqual([whole.rows.length, whole.truncated], [1_000, false]);
      const wide = `with recursive n(i, t) as (select 1, 'xxxxxxxxxx' union all select i + 1, t || 'xxxxxxxxxx' from n where i < 200) select * from n`;
      const response = await ask(wide, [], { Accept: 'text/csv' });
      assert.equal(response.headers.get('lastseen-truncated'), 'true');
      const text = await response.text();
      assert.ok(text.length < 100_100 && text.endsWith('\r\n'), String(text.length));
    });

    it('a query that runs too long is ended, also at the server', async () => {
      const joined = 'abcdefghijklmnopqrst'.split('').map((alias) => `events ${alias}`);
      const tooLong = async (sql: string): Promise<void> => {
        const response = await ask(sql);
        const problem = (await response.json()) as Problem;
        assert.deepEqual([response.status, problem.code], [422, 'ERR_QUERY_LIMIT'], JSON.stringify(problem));
      };
      await Promise.all([tooLong(ENDLESS), tooLong(`select count(*) from ${joined.join(', ')}`)]);
      await until(isQuiet, 'the store to run no query');
      assert.deepEqual(await rows('select 1'), [[1]]);
    });

    it('a query that gathers too much in memory is refused, and the next one is answered', async () => {
      const doubling = (times: number, wanted: string): string =>
        `with recursive n(i, t) as (select 1, 'xxxxxxxxxxxxxxxx' union all select i + 1, t || t from n where i < ${times}) select ${wanted} from n`;
      // On SQLite in the process that runs it; on PostgreSQL what the server sends is too much for that process.
      const response = await ask(
        engine.name === 'SQLite' ? doubling(40, 'max(length(t))') : doubling(24, 't'),
      );
      const problem = (await response.json()) as Problem;
      assert.deepEqual([response.status, problem.code], [422, 'ERR_QUERY_LIMIT'], problem.detail);
      await until(isQuiet, 'the store to run no query');
      assert.deepEqual(await rows('select 1'), [[1]]);
    });

    it('as many at once as may be, then 503 with Retry-After; who goes away makes room at once', async () => {
      const { settings } = engine.name === 'SQLite' ? await engine.createDatabase() : database;
      // Only going away can end these within the patience of the test.
      const patient = await startService({ LASTSEEN_QUERY_TIMEOUT_MS: '600000', ...settings });
      const askThere = (): Promise<Response> => patient.post('/query', { sql: 'select 1' });
      const all: ClientRequest[] = [];
      // Of three, two are running and one is refused, whichever came last.
      const refused = await new Promise<IncomingMessage>((resolve) => {
        for (let count = 0; count < 3; count += 1) {
          const asked = request(`${patient.url}/query`, {
            method: 'POST',
            headers: { ...JSON_TYPE, Authorization: `Bearer ${TOKEN}` },
          });
          asked.on('error', () => undefined);
          asked.once('response', resolve);
          asked.end(JSON.stringify({ sql: ENDLESS }));
          all.push(asked);
        }
      });
      assert.equal(refused.statusCode, 503);
      assert.match(refused.headers['retry-after'] ?? '', /^\d+$/);
      assert.equal((JSON.parse((await refused.toArray()).join('')) as Problem).code, 'ERR_QUEUE_FULL');
      assert.equal((await askThere()).status, 503);
      for (const each of all) {
        each.destroy();
      }
      await until(async () => (await askThere()).status === 200, 'room for a query');
      await until(isQuiet, 'the store to run no query');
      await patient.stop();
    });
  });
});
