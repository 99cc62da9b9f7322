/** Queries end when they must: at drain, and before they let an SQLite file's write-ahead log grow without bound. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createQueries, type Queries, type QueriesOptions } from '../../src/analysis/queries.ts';
import { LastseenError } from '../../src/errors.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { type Service, startService } from '../support/service.ts';

const ENDLESS = 'with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n';

const LIMITS = {
  queryConcurrency: 1,
  queryTimeoutMs: 60_000,
  queryMaxRows: 10,
  queryMaxBytes: 1_000,
  queryMemoryBytes: 268_435_456,
};

describe('queries over a file', () => {
  let service: Service;
  before(async () => {
    service = await startService();
    await service.push({ accessid: 'a', created_at: 1, payload: 'x'.repeat(10_000) });
  });
  after(async () => service.stop());

  const open = (options: Partial<QueriesOptions> = {}): Queries =>
    createQueries({
      source: { kind: 'sqlite', path: service.databasePath },
      limits: LIMITS,
      timers: systemRuntime.timers,
      ...options,
    });

  const ask = (queries: Queries, sql: string): Promise<unknown> =>
    queries.run({ sql, params: [], access: 'everything' }, 'json', new AbortController().signal);

  const fails = (code: string, message: RegExp) => (error: unknown) =>
    error instanceof LastseenError && error.code === code && message.test(error.message);

  it('one is ended when the write-ahead log grows too far while it reads', async () => {
    const queries = open({ maxWalBytes: 4_096 });
    await assert.rejects(ask(queries, ENDLESS), fails('ERR_QUERY_LIMIT', /write-ahead log/));
    await queries.close();
  });

  it('closing ends what runs and takes no more', async () => {
    const queries = open();
    const ended = assert.rejects(ask(queries, ENDLESS), fails('ERR_DRAINING', /shutting down/));
    assert.equal(queries.running, 1);
    await queries.close();
    await ended;
    assert.equal(queries.running, 0);
    await assert.rejects(ask(queries, 'select 1'), fails('ERR_DRAINING', /shutting down/));
  });
});
