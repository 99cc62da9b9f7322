/** Which server answers: the same for every role, and another after a restart. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import pg from 'pg';
import {
  isSameServer,
  isSameTimeline,
  readServerState,
  type ServerState,
} from '../../src/engines/postgres/server-identity.ts';
import { runSql, startPostgresServer } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';

const server = { systemIdentifier: '7', timeline: 1, startedAt: '100' };

it('G14: only one system on one timeline counts as one history, and what is not known proves nothing', () => {
  const unknown = { systemIdentifier: null, timeline: null, startedAt: '100' };
  assert.ok(isSameServer(server, { ...server }));
  assert.ok(isSameTimeline(server, { ...server, startedAt: '200' }), 'a restart');
  assert.ok(!isSameServer(server, { ...server, startedAt: '200' }));
  assert.ok(!isSameTimeline(server, { ...server, timeline: 2, startedAt: '200' }), 'a promotion');
  assert.ok(!isSameTimeline(server, { ...server, timeline: 2 }), 'a promotion without a restart');
  assert.ok(!isSameTimeline(server, { ...server, systemIdentifier: '8' }), 'another system');
  assert.ok(isSameTimeline(unknown, { ...unknown }));
  assert.ok(!isSameTimeline(unknown, { ...unknown, startedAt: '200' }));
});

it(
  'every role can read the state of its server, with fewer values where rights are revoked',
  {
    skip: missing('PostgreSQL'),
  },
  async (context) => {
    const postgres = await startPostgresServer();
    context.after(() => postgres.remove());
    await runSql(postgres.url, 'create role ordinary login');
    const url = postgres.url.replace('postgres@', 'ordinary@');
    const read = async (): Promise<ServerState> => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      try {
        return await readServerState(client);
      } finally {
        await client.end();
      }
    };

    const first = await read();
    assert.equal(first.refusal, undefined);
    assert.match(first.identity.systemIdentifier ?? '', /^\d+$/);
    assert.equal(first.identity.timeline, 1);
    assert.deepEqual(await read(), first);

    await postgres.stop();
    await postgres.start();
    const restarted = await read();
    assert.ok(!isSameServer(first.identity, restarted.identity));
    assert.ok(isSameTimeline(first.identity, restarted.identity));

    await runSql(postgres.url, 'revoke execute on function pg_control_system() from public');
    assert.deepEqual((await read()).identity, { ...restarted.identity, systemIdentifier: null });
    await runSql(postgres.url, 'revoke execute on function pg_current_wal_lsn() from public');
    const bare = await read();
    assert.deepEqual(bare.identity, { ...restarted.identity, systemIdentifier: null, timeline: null });
    assert.ok(isSameTimeline(bare.identity, (await read()).identity));

    await runSql(postgres.url, 'alter role ordinary set default_transaction_read_only = on');
    assert.equal((await read()).refusal, 'is read-only');
  },
);
