/** G3 and G7 as a property: whatever happens between, every subscriber's list is the model's slice. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import fc from 'fast-check';
import { createSession, type Session } from '../../src/delivery/session.ts';
import { openSqliteEngine } from '../../src/engines/sqlite/engine.ts';
import { ADMIN } from '../../src/identity/principal.ts';
import { cursorOf } from '../../src/log/cursor.ts';
import type { LogEvent } from '../../src/log/event.ts';
import { createLog, type Log } from '../../src/log/log.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { SEED } from '../support/chance.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

type Step =
  | { readonly do: 'append'; readonly feeds: readonly number[] }
  | { readonly do: 'join'; readonly who: number; readonly feed: number; readonly fromStart: boolean }
  | { readonly do: 'stall' | 'flow' | 'cut' | 'resume'; readonly who: number }
  | { readonly do: 'restart' };

/** Sequences of steps, and steps in one. `npm run test:chaos` asks for more. */
const RUNS = Number(process.env['CHAOS_RUNS'] ?? 12);
const MAX_STEPS = Number(process.env['CHAOS_STEPS'] ?? 60);
const MAX_BATCH = MAX_STEPS / 2;

const FEEDS = 3;
const READERS = 4;

const who = fc.nat({ max: READERS - 1 });
const feed = fc.nat({ max: FEEDS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      feeds: fc.array(feed, { minLength: 1, maxLength: MAX_BATCH, size: 'max' }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('join' as const), who, feed, fromStart: fc.boolean() }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('stall' as const, 'flow' as const, 'cut' as const, 'resume' as const),
      who,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
);

/** A reader with a wire that can be stalled and cut, and that remembers what it was given. */
interface Reader {
  feed: string;
  /** Where it joined: its list must be everything after. */
  from: string;
  fromPosition: number;
  seen: LogEvent[];
  session: Session | undefined;
  isStalled: boolean;
  drain: () => void;
}

/** A log that falls back to the store all the time: its ring holds some ten events. */
async function openLog(path: string): Promise<Log> {
  const { store } = await openSqliteEngine({ path, runtime: systemRuntime });
  return createLog({
    store,
    runtime: systemRuntime,
    onError: (error) => {
      throw error;
    },
    tail: { maxBytes: 4_000 },
  });
}

async function listen(log: Log, reader: Reader, cursor: string): Promise<void> {
  const after = await log.resolve(reader.feed, { after: cursor });
  reader.session = createSession({
    log,
    principal: ADMIN,
    runtime: systemRuntime,
    heartbeat: () => undefined,
    stallTimeoutMs: 1e9,
    onFault: (error) => {
      throw error;
    },
    connection: {
      gateway: 'test',
      canPong: false,
      write: () => undefined,
      get bufferedBytes() {
        return reader.isStalled ? 1e9 : 0;
      },
      get isFull() {
        return reader.isStalled;
      },
      flushedBytes: 0,
      onDrain: (listener) => (reader.drain = listener),
      ping: () => undefined,
      close: (reason) => assert.fail(`closed: ${reason}`),
    },
  });
  reader.session.subscribe({
    accessId: reader.feed,
    after,
    encoder: {
      events(events) {
        assert.ok(events.every((event) => event.accessId === reader.feed));
        reader.seen.push(...events);
        return undefined;
      },
      live: () => undefined,
    },
  });
}

/** Returns the number of events. */
async function play(steps: readonly Step[]): Promise<number> {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'log.db');
  let log = await openLog(path);
  const model: { position: number; feed: string; payload: string }[] = [];
  const readers: (Reader | undefined)[] = [];
  const appends: Promise<unknown>[] = [];

  function cut(reader: Reader | undefined): void {
    reader?.session?.dispose();
    if (reader !== undefined) {
      reader.session = undefined;
    }
  }

  async function resume(reader: Reader): Promise<void> {
    if (reader.session === undefined) {
      const last = reader.seen.at(-1);
      await listen(log, reader, last === undefined ? reader.from : cursorOf(last));
    }
  }

  for (const [at, one] of steps.entries()) {
    if (one.do === 'append') {
      const events = one.feeds.map((number, index) => ({
        accessId: `f${number}`,
        createdAt: index % 3,
        id: null,
        payload: `"${at}/${index}"`,
      }));
      appends.push(
        log.append({ events, key: null }).then((receipts) => {
          receipts.forEach((receipt, index) => {
            const event = events[index];
            if (event !== undefined) {
              model.push({ position: receipt.position, feed: event.accessId, payload: event.payload });
            }
          });
        }),
      );
      if (at % 3 === 0) {
        await Promise.all(appends);
      }
    } else if (one.do === 'join') {
      cut(readers[one.who]);
      const feed = `f${one.feed}`;
      const place = await log.resolve(feed, { after: one.fromStart ? 'start' : 'now' });
      const reader: Reader = {
        feed,
        from: cursorOf(place),
        fromPosition: place.position,
        seen: [],
        session: undefined,
        isStalled: false,
        drain: () => undefined,
      };
      readers[one.who] = reader;
      await resume(reader);
    } else if (one.do === 'restart') {
      await Promise.all(appends);
      readers.forEach(cut);
      await log.close();
      log = await openLog(path);
      for (const reader of readers) {
        if (reader !== undefined) {
          await resume(reader);
        }
      }
    } else {
      const reader = readers[one.who];
      if (reader === undefined) {
        continue;
      }
      if (one.do === 'stall') {
        reader.isStalled = true;
      } else if (one.do === 'cut') {
        cut(reader);
      } else if (one.do === 'resume') {
        await resume(reader);
      } else {
        reader.isStalled = false;
        reader.drain();
      }
    }
  }
  await Promise.all(appends);
  model.sort((a, b) => a.position - b.position);
  assert.deepEqual(
    model.map((one) => one.position),
    model.map((_, at) => at + 1),
  );
  for (const reader of readers) {
    if (reader === undefined) {
      continue;
    }
    reader.isStalled = false;
    await resume(reader);
    reader.drain();
    const expected = model.filter((one) => one.feed === reader.feed && one.position > reader.fromPosition);
    await until(
      () => reader.seen.length >= expected.length,
      () => `${reader.feed}: ${reader.seen.length} of ${expected.length} events came`,
    );
    assert.deepEqual(
      reader.seen.map(({ position, payload }) => [position, payload]),
      expected.map(({ position, payload }) => [position, payload]),
    );
    reader.seen.forEach((event, at) => assert.equal(event.version, (reader.seen[0]?.version ?? 0) + at));
  }
  readers.forEach(cut);
  await log.close();
  directory.remove();
  return model.length;
}

it('G3: through appends, joins, stalls, cuts, resumes and restarts every subscriber gets exactly its slice', async (context) => {
  let events = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: MAX_STEPS, size: 'max' }), async (steps) => {
      events += await play(steps);
    }),
    { numRuns: RUNS, seed: SEED },
  );
  context.diagnostic(`seed ${SEED}: ${RUNS} sequences, ${events} events`);
});
