/** The contract that analysts write against: docs/reference/sql.md and the questions of docs/guides/analysts.md, the same on both engines. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import Database from 'better-sqlite3';
import { accessCondition, EVENT_COLUMNS, VIEWS } from '../../src/analysis/contract.ts';
import { readConfig } from '../../src/config.ts';
import { openTarget } from '../../src/engines/open.ts';
import type { LogEvent } from '../../src/log/event.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { readBlocks } from '../support/document.ts';
import { createDatabase, type TestDatabase } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { type Service, startService } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const DOCUMENT = readFileSync(join(import.meta.dirname, '../../docs/reference/sql.md'), 'utf8');

const QUESTIONS = readBlocks('docs/guides/analysts.md')
  .filter(({ language }) => language === 'sql')
  .map(({ text }) => text);

const START = Date.UTC(2026, 0, 1, 23, 59, 0);
const DAY = 86_400_000;

/** Forty events over as many days, some of them late, silent for long, or odd. */
function story(): LogEvent[] {
  const versions = new Map<string, number>();
  const payloads = [
    '{"kind":"sale","amount":12.5,"customer":{"city":"Köln"},"lines":[{"sku":"a-1"},{"sku":"b"}]}',
    '{"kind":"refund","amount":-3}',
    '"a text"',
    '[1,2,{"kind":"none"}]',
    '{"kind":"sale","amount":9007199254740993}',
    'null',
    '{"customer":{"city":"Oslo"},"kind":null}',
  ];
  return Array.from({ length: 40 }, (_, at) => {
    const accessId = ['shop-1', 'shop-2', 'ünïcode'][at % 3] ?? '';
    const version = (versions.get(accessId) ?? 0) + 1;
    versions.set(accessId, version);
    const recordedAt = START + at * DAY + (at % 5) * 1_000;
    return {
      lineage: { epoch: 'contract' },
      tag: 0,
      position: at + 1,
      accessId,
      version,
      createdAt: at % 7 === 3 ? recordedAt - 40 * DAY : recordedAt - at * 10,
      recordedAt,
      id: at % 4 === 0 ? `id-${at}` : null,
      payload: payloads[at % payloads.length] ?? 'null',
    };
  });
}

async function fill(databaseUrl: string): Promise<void> {
  const target = await openTarget(readConfig({ DATABASE_URL: databaseUrl }).database, systemRuntime);
  await target.events(story());
  await target.commit({ epoch: 'contract', floor: 1, head: 40, taggedFrom: 41 });
  await target.close();
}

interface Answer {
  readonly columns: string[];
  readonly rows: unknown[][];
}

describe('the contract of analysts', { skip: missing('PostgreSQL') }, () => {
  let directory: TemporaryDirectory;
  let database: TestDatabase;
  let services: Service[];
  before(async () => {
    directory = temporaryDirectory();
    database = await createDatabase();
    const file = `sqlite:${join(directory.path, 'log.db')}`;
    services = [];
    for (const url of [file, database.url]) {
      const migrating = await startService({ DATABASE_URL: url });
      await migrating.stop();
      await fill(url);
      services.push(await startService({ DATABASE_URL: url }));
    }
  });
  after(async () => {
    for (const service of services) {
      await service.stop();
    }
    await database.drop();
    directory.remove();
  });

  /** The answer of each engine to the same text. */
  async function ask(sql: string, headers: Record<string, string>[] = [{}, {}]): Promise<Answer[]> {
    return Promise.all(
      services.map(async (service, at) => {
        const response = await service.post('/query', { sql }, headers[at]);
        assert.equal(response.status, 200, `${sql}\n${await response.clone().text()}`);
        return (await response.json()) as Answer;
      }),
    );
  }

  it('there are twelve worked questions, and each has one answer on both engines', async () => {
    assert.equal(QUESTIONS.length, 12);
    for (const sql of QUESTIONS) {
      const [sqlite, postgres] = await ask(sql);
      assert.deepEqual(sqlite, postgres, sql);
      assert.ok(
        sqlite !== undefined && (sqlite.rows.length > 0 || sql.includes('missing')),
        `nothing: ${sql}`,
      );
    }
  });

  it('every table and view is documented with its columns, and gives the same rows on both engines', async () => {
    for (const name of ['events', ...VIEWS]) {
      const order = name.startsWith('event_days') ? 'day' : 'access_id, last_version';
      const by = ['events', 'event_history', 'event_gaps', 'event_delays'].includes(name)
        ? 'position'
        : order;
      const [sqlite, postgres] = await ask(`select * from ${name} order by ${by}`);
      assert.deepEqual(sqlite, postgres, name);
      const row = DOCUMENT.split('\n').find((line) => line.startsWith(`| \`${name}\``)) ?? '';
      if (row.includes('the same')) {
        assert.deepEqual(sqlite?.columns, EVENT_COLUMNS.split(', '));
      } else {
        for (const column of sqlite?.columns ?? []) {
          assert.ok(row.includes(`\`${column}\``), `${name}.${column}`);
        }
      }
    }
  });

  it('the questions are answered on part of the log by a token that covers that part', async () => {
    const headers = await Promise.all(
      services.map(async (service) => {
        const response = await service.post('/tokens', { scope: 'query', access_ids: ['shop-*'] });
        const { access_token: secret } = (await response.json()) as { access_token: string };
        return { Authorization: `Bearer ${secret}` };
      }),
    );
    for (const sql of QUESTIONS) {
      const [sqlite, postgres] = await ask(sql, headers);
      assert.deepEqual(sqlite, postgres, sql);
      assert.ok(!JSON.stringify(sqlite).includes('ünïcode'), sql);
    }
  });

  it('any tool may read the file while the service runs', () => {
    const db = new Database(join(directory.path, 'log.db'), { readonly: true });
    assert.equal(
      db.prepare("select count(*) from event_history where access_id <> '$control'").pluck().get(),
      40,
    );
    for (const sql of QUESTIONS) {
      db.prepare(sql).all();
    }
    db.close();
  });
});

describe('the condition on access_ids', () => {
  it('means what a token means by its patterns, thousands of them, whatever characters they have', () => {
    const db = new Database(':memory:');
    db.exec('create table events (access_id text)');
    const insert = db.prepare('insert into events values (?)');
    const names = ['a', 'a*', 'ab', "a'b", '%', '_', '$users', '$userspace', '💡', '💡x', 'é', 'É'];
    for (const name of names) {
      insert.run(name);
    }
    const seen = (...patterns: string[]): unknown[] =>
      db
        .prepare(`select access_id from events where ${accessCondition(patterns)}`)
        .pluck()
        .all();
    assert.deepEqual(seen(), []);
    assert.deepEqual(
      seen('*'),
      names.filter((name) => !name.startsWith('$')),
    );
    assert.deepEqual(seen('$*'), ['$users', '$userspace']);
    assert.deepEqual(seen('$users'), ['$users']);
    assert.deepEqual(seen("a'*"), ["a'b"]);
    assert.deepEqual(seen('💡*'), ['💡', '💡x']);
    assert.deepEqual(seen('é*', '_', '\u0000*'), ['_', 'é']);
    const many = Array.from({ length: 5_000 }, (_, at) => [`x${at}*`, `y${at}`]).flat();
    assert.deepEqual(seen(...many, 'ab'), ['ab']);
    db.close();
  });
});
