/** Which events an export reads, on both engines, while others append and retention is at work. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openRange, type Range, type RangeOptions, resolveRange } from '../../src/cli/export/range.ts';
import type { LogSource } from '../../src/engines/archive.ts';
import { openSource } from '../../src/engines/open.ts';
import { openEngine } from '../../src/engines/open.ts';
import { LastseenError } from '../../src/errors.ts';
import { cursorOf } from '../../src/log/cursor.ts';
import { createLog, type Log } from '../../src/log/log.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { event } from '../engines/contract.ts';
import { eachEngine } from '../engines/each-engine.ts';

describe('a range', () => {
  eachEngine((engine) => {
    let log: Log;
    let source: LogSource;

    before(async () => {
      const { target } = await engine.createDatabase();
      log = await createLog({
        store: (await openEngine(target, { runtime: systemRuntime })).store,
        runtime: systemRuntime,
      });
      cursors[0] = cursorOf(log.head);
      for (let n = 1; n <= 40; n += 1) {
        await append(['a', 'b', 'b', 'c'][n % 4] ?? '', n);
      }
      source = await openSource(target, systemRuntime);
    });
    after(async () => {
      await source.close();
      await log.close();
    });

    /** Of each position. */
    const cursors: string[] = [];

    async function append(accessId: string, n: number): Promise<void> {
      const [receipt = assert.fail()] = await log.append({ events: [event(accessId, n)], key: null });
      cursors[receipt.position] = cursorOf(receipt);
    }

    const rangeOf = (options: Partial<RangeOptions>): Promise<Range> =>
      resolveRange(source, { accessId: [], ...options });

    async function positions(
      options: Partial<RangeOptions>,
    ): Promise<{ positions: number[]; cursor: string }> {
      const range = await rangeOf(options);
      const reader = await openRange(source, range);
      const found: number[] = [];
      for (let page = await reader.next(); page !== undefined; page = await reader.next()) {
        found.push(...page.events.map(({ position }) => position));
      }
      await reader.confirm();
      assert.equal(reader.mayLack, false);
      return { positions: found, cursor: reader.cursor };
    }

    const refused = (code: string, words: RegExp) => (error: unknown) =>
      error instanceof LastseenError && error.code === code && words.test(error.message);

    it('G3: cut anywhere, the parts are the whole, of all access_ids and of some', async () => {
      for (const accessId of [[], ['a'], ['b', 'c'], ['nobody']]) {
        const whole = await positions({ accessId });
        assert.equal(whole.cursor, cursors[whole.positions.at(-1) ?? 0]);
        assert.equal(
          whole.positions.length,
          { 0: 40, 1: accessId[0] === 'a' ? 10 : 0, 2: 30 }[accessId.length],
        );
        for (let cut = 0; cut <= 40; cut += 1) {
          const first = await positions({ accessId, until: cursors[cut] ?? '' });
          assert.equal(first.cursor, cursors[first.positions.at(-1) ?? 0]);
          const second = await positions({ accessId, after: first.cursor });
          assert.deepEqual([...first.positions, ...second.positions], whole.positions);
        }
      }
    });

    it('what is appended meanwhile is for the next one', async () => {
      const range = await rangeOf({ after: 'now' });
      assert.equal(range.after.position, range.through);
      const reader = await openRange(source, await rangeOf({ after: cursors[39] ?? '' }));
      await append('late', 41);
      const page = await reader.next();
      assert.deepEqual(
        page?.events.map(({ position }) => position),
        [40],
      );
      assert.equal(await reader.next(), undefined);
      assert.deepEqual((await positions({ after: cursors[40] ?? '' })).positions, [41]);
    });

    it('G11: a time chooses a place, and the parts on both of its sides are the whole', async () => {
      const { recordedAt } = (await source.events(20, 1))[0] ?? assert.fail();
      const time = new Date(recordedAt).toISOString();
      const early = await positions({ before: time });
      const late = await positions({ since: time });
      assert.deepEqual([...early.positions, ...late.positions], (await positions({})).positions);
      assert.ok(late.positions.includes(21));
      assert.deepEqual((await positions({ after: early.cursor })).positions, late.positions);
      assert.deepEqual((await positions({ before: '1999-12-31' })).positions, []);
      assert.deepEqual((await positions({ since: '2999-12-31T00:00+01:00' })).positions, []);
    });

    it('G6: a cursor that cannot be honoured is refused with its reason', async () => {
      await assert.rejects(rangeOf({ after: 'x' }), refused('ERR_CURSOR_MALFORMED', /^--after: .*"x"/));
      await assert.rejects(rangeOf({ until: 'x' }), refused('ERR_CURSOR_MALFORMED', /^--until: .*"x"/));
      await assert.rejects(
        rangeOf({ after: '00000000.1' }),
        refused('ERR_CURSOR_EPOCH', /\(floor: \w+\.0\)$/),
      );
      await assert.rejects(
        rangeOf({ after: cursorOf({ ...log.head, position: 999 }) }),
        refused('ERR_CURSOR_DIVERGED', /^--after: /),
      );
      await assert.rejects(
        rangeOf({ after: cursors[3] ?? '', until: cursors[2] ?? '' }),
        refused('ERR_REQUEST_INVALID', /^--until: must not be before --after/),
      );
    });

    it('a time or an access_id that is none is refused, and the option named', async () => {
      for (const since of ['soon', '2026-02-30', '2026-01-31T12:00', '1763640000000', '2026-01-31T25:00Z']) {
        await assert.rejects(
          rangeOf({ since }),
          refused('ERR_REQUEST_INVALID', /^--since: must be a day .* got "/),
        );
      }
      await assert.rejects(rangeOf({ before: '' }), refused('ERR_REQUEST_INVALID', /^--before: /));
      await assert.rejects(
        rangeOf({ accessId: ['a', ''] }),
        refused('ERR_REQUEST_INVALID', /^--access-id: /),
      );
    });

    it('G6: retention gives a verdict with the floor, before and while it is read; from the start it is told', async () => {
      const resumed = await openRange(source, await rangeOf({ after: cursors[2] ?? '' }));
      const begun = await openRange(source, await rangeOf({}));
      await log.prune({ through: 8 });
      await resumed.next();
      await assert.rejects(resumed.confirm(), refused('ERR_CURSOR_TOO_OLD', /\(floor: \w+\.8\.2\.0\.\w+\)$/));
      await begun.next();
      await begun.confirm();
      assert.equal(begun.mayLack, true);

      const tooOld = /^--after: ERR_CURSOR_TOO_OLD: .*\(floor: (\w+\.8\.2\.0\.\w+)\)$/;
      await assert.rejects(rangeOf({ after: cursors[7] ?? '' }), refused('ERR_CURSOR_TOO_OLD', tooOld));
      assert.equal((await positions({ after: cursors[8] ?? '' })).positions[0], 9);
      assert.equal((await positions({})).positions[0], 9);
      // Judged by what it asks for: position 8 is of another access_id.
      assert.deepEqual(
        (await positions({ accessId: ['c'], after: cursors[7] ?? '' })).positions.slice(0, 2),
        [11, 15],
      );
    });
  });
});
