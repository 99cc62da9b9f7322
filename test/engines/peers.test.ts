/** What nodes over one PostgreSQL share, when a failover has lost the last of it. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { migrateDatabase } from '../../src/engines/open.ts';
import { createPool } from '../../src/engines/postgres/connection.ts';
import { type PostgresPeers, startPeers } from '../../src/engines/postgres/peers.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { createDatabase, runSql } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { until } from '../support/until.ts';

it(
  'entries of a node that a failover has lost are shared again, and withdrawn ones that it brought back are not',
  { skip: missing('PostgreSQL') },
  async (context) => {
    const database = await createDatabase();
    context.after(() => database.drop());
    await migrateDatabase({ kind: 'postgres', url: database.url, listenUrl: undefined }, systemRuntime);
    const pool = createPool(database.url, { max: 4 });
    context.after(() => pool.end());
    const nodes: PostgresPeers[] = [];
    context.after(() => Promise.all(nodes.map((node) => node.stop())));
    const start = (): PostgresPeers => {
      const node = startPeers({ pool, runtime: systemRuntime, onError: () => undefined });
      nodes.push(node);
      return node;
    };
    const [sharing, watching] = [start(), start()];
    const seen = new Map<string, string>();
    watching.onShared((changes) => {
      for (const { key, value } of changes) {
        if (value === undefined) {
          seen.delete(key);
        } else {
          seen.set(key, value);
        }
      }
    });
    const untilSeen = (entries: Record<string, string>): Promise<void> =>
      until(
        () => {
          watching.refresh();
          return JSON.stringify(Object.fromEntries([...seen].sort())) === JSON.stringify(entries);
        },
        () => `${JSON.stringify(entries)}, got ${JSON.stringify([...seen])}`,
      );
    sharing.share('old', '1');
    await untilSeen({ old: '1' });
    sharing.share('old', undefined);
    sharing.share('new', '2');
    await untilSeen({ new: '2' });

    // The standby has the state before the last commit.
    await runSql(
      database.url,
      `begin;
       update shown set key = 'old', value = '1';
       update nodes set shown_version = shown_version - 1 where node_id = '${sharing.nodeId}';
       commit`,
    );
    await untilSeen({ old: '1' });
    sharing.share('other', '3');
    sharing.shareAgain();
    await untilSeen({ new: '2', other: '3' });
    assert.equal(seen.size, 2);
  },
);
