/**
 * The primary of PostgreSQL is lost under load, and the standby that is promoted lacks its last commits: acknowledged
 * events are lost. Every client that saw one is told, every other resumes exactly, and connectors fill the log again.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { followAlways, type Follower, startConnector, untilExact, untilMore } from '../support/load.ts';
import { runSql } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { type Loss, startReplicatedPair } from '../support/replication.ts';
import { type Problem, type Service, startService } from '../support/service.ts';
import { until } from '../support/until.ts';

const FEED = 'busy';
const QUIET = 'quiet';

/** Ids of the feed, in their order. */
async function storedIn(url: string): Promise<string[]> {
  const { rows } = await runSql(
    url,
    `select event_id from events where access_id = '${FEED}' order by position`,
  );
  return rows.map(({ event_id: id }: { event_id: string }) => id);
}

const seenBy = (follower: Follower): string[] => follower.events.map(({ payload }) => payload as string);

describe('a standby that lacks the last commits', { skip: missing('PostgreSQL'), concurrency: true }, () => {
  for (const loss of ['killed', 'stopped', 'cut off in silence'] satisfies Loss[]) {
    it(`G6, G13: the primary is ${loss}: every client that saw a lost event gets the verdict, every other resumes exactly`, async (context) => {
      const pair = await startReplicatedPair({ isSynchronous: false });
      context.after(() => pair.remove());
      const nodes: Service[] = [];
      context.after(() => Promise.all(nodes.map((node) => node.stop())));
      for (let count = 0; count < 2; count += 1) {
        nodes.push(await startService({ DATABASE_URL: pair.url }));
      }
      const [first, second] = nodes;
      assert.ok(first !== undefined && second !== undefined);
      const ports = nodes.map(({ port }) => port);
      const follow = (feed: string, order: readonly number[] = ports): Follower => {
        const follower = followAlways(order, feed);
        context.after(() => follower.stop());
        return follower;
      };
      for (let number = 1; number <= 3; number += 1) {
        await first.push({ access_id: QUIET, created_at: number, payload: number });
      }
      const quiet = follow(QUIET);
      const live = [follow(FEED), follow(FEED, [...ports].reverse())];
      /** Away from before the first lost event, and away since then. */
      const [early, late] = [follow(FEED), follow(FEED)];
      const connectors = [0, 1, 2, 3].map((number) =>
        startConnector({ url: nodes[number % 2]?.url ?? '', accessId: FEED, name: `c${number}` }),
      );
      context.after(() => Promise.all(connectors.map((connector) => connector.stop())));

      await untilMore(connectors, 20, 'the first acknowledgements');
      await until(() => early.events.length > 0, 'the first event');
      early.pause();
      await until(
        async () => (await storedIn(pair.standbyUrl)).includes(seenBy(early).at(-1) ?? ''),
        'the standby to have what the early client saw',
      );
      pair.holdReplication();
      await untilMore(connectors, 20, 'acknowledgements that the standby does not have');
      const survivors = new Set(await storedIn(pair.standbyUrl));
      const lost = connectors.flatMap(({ acknowledged }) => acknowledged).filter((id) => !survivors.has(id));
      assert.ok(lost.length >= 40);
      const sawLost = (follower: Follower): boolean => seenBy(follower).some((id) => !survivors.has(id));
      await until(() => [...live, late].every(sawLost), 'the clients to see lost events');
      late.pause();
      const lostCursor = late.events.at(-1)?.cursor ?? '';

      pair.lose(loss);
      await pair.promote();
      await untilMore(connectors, 20, 'acknowledgements of the new primary on both nodes');
      await Promise.all(connectors.map((connector) => connector.stop()));
      // Connectors push again what they pushed lately, with the same ids.
      await Promise.all(connectors.map((connector) => connector.repeat()));
      await second.push({ access_id: QUIET, created_at: 4, payload: 4 });

      const stored = await storedIn(pair.standbyUrl);
      assert.deepEqual(
        [...stored].sort(),
        connectors.flatMap(({ acknowledged }) => acknowledged).sort(),
        'the log holds each acknowledged event once',
      );
      early.proceed();
      late.proceed();
      await untilExact(early, stored.length);
      assert.deepEqual(seenBy(early), stored);
      await untilExact(quiet, 4);
      for (const follower of [...live, late]) {
        await until(() => follower.verdict !== undefined, 'the verdict of a client that saw a lost event');
        const { verdict } = follower;
        assert.deepEqual([verdict?.code, verdict?.close], ['ERR_CURSOR_DIVERGED', 4501]);
        assert.ok(verdict?.floor !== undefined);
      }
      for (const node of nodes) {
        const response = await node.fetch(`/events?access_id=${FEED}&after=${lostCursor}`);
        const problem = (await response.json()) as Problem;
        assert.deepEqual([response.status, problem.code], [409, 'ERR_CURSOR_DIVERGED']);
        const events = await node.page(FEED, `&after=${problem.floor ?? ''}&limit=1`);
        assert.equal(events.events[0]?.version, 1);
      }
    });
  }
});
