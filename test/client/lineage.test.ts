/** The subscription and `lastseen tail` against a log that goes back to an older copy of its files, over every transport. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import {
  ClientError,
  type ClientEvent,
  type CursorStore,
  type FeedPlace,
  localStorageStore,
  subscribe,
  type SubscribeOptions,
} from '../../src/client/index.ts';
import { fileStore } from '../../src/client/node.ts';
import { parsePlace, placeAfter } from '../../src/client/subscribe/feed-place.ts';
import { subscribeWith } from '../../src/client/subscribe/subscription.ts';
import { createManualRuntime } from '../support/manual-runtime.ts';
import { runCommand } from '../support/process.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

/** Versions before the copy, and versions after it that are lost. */
const SHARED = 20;
const LOST = 3;

const TRANSPORTS = ['websocket', 'stream', 'poll'] as const;

/** The event `version` of a history. */
const payloadOf = (history: string, version: number): string => `${history} ${version}`;

function copyLog(from: string, to: string): void {
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(to + suffix, { force: true });
    if (existsSync(from + suffix)) {
      copyFileSync(from + suffix, to + suffix);
    }
  }
}

/** A store in memory that keeps what `save` gets, or the cursor alone. */
function memoryStore(keeps: 'places' | 'cursors'): CursorStore & { readonly saved: Map<string, unknown> } {
  const saved = new Map<string, unknown>();
  return {
    saved,
    load: (accessId) => saved.get(accessId) as ReturnType<CursorStore['load']>,
    save: (accessId, cursor, place) => {
      saved.set(accessId, keeps === 'places' ? structuredClone(place) : cursor);
    },
  };
}

/** What the copy knows: only the trail of a client tells what is common, or the term of the lost events too. */
for (const knowledge of ['trail', 'term'] as const) {
  describe(`a log that went back, where the ${knowledge} tells what is common`, () => {
    let directory: TemporaryDirectory;
    let service: Service;
    const stores = new Map<string, CursorStore>();
    const plainStores = new Map<string, CursorStore>();

    async function read(
      options: Partial<SubscribeOptions> & { readonly accessId: string },
      until: (event: ClientEvent) => boolean,
    ): Promise<ClientEvent[]> {
      const events: ClientEvent[] = [];
      const signal = AbortSignal.timeout(60_000);
      for await (const event of subscribe({
        url: service.url,
        token: TOKEN,
        WebSocket,
        after: 'start',
        signal,
        ...options,
      })) {
        events.push(event);
        if (until(event)) {
          break;
        }
      }
      return events;
    }

    const push = async (history: string, versions: readonly number[]): Promise<void> => {
      for (const version of versions) {
        await service.push(
          ...TRANSPORTS.map((name) => ({
            accessid: name,
            created_at: 1,
            payload: payloadOf(history, version),
          })),
        );
      }
    };
    /** The verdicts on each transport while the log has no event after what is common. */
    const early = new Map<string, ClientError>();
    async function readBeforeGrowth(): Promise<void> {
      for (const transport of TRANSPORTS) {
        const store = stores.get(transport) ?? assert.fail('no store');
        await read({ accessId: transport, transports: [transport], store }, () => true).catch(
          (error: unknown) => early.set(transport, error as ClientError),
        );
      }
    }
    /** Prints the feed of the first transport, from its state file. */
    const tail = (...more: readonly string[]): ReturnType<typeof runCommand> =>
      runCommand(
        ['tail', TRANSPORTS[0], '--no-follow', '--state', join(directory.path, 'tail.json'), ...more],
        { LASTSEEN_URL: service.url },
      );
    const range = (from: number, through: number): number[] =>
      Array.from({ length: through - from + 1 }, (_, index) => from + index);

    before(async () => {
      directory = temporaryDirectory();
      const path = join(directory.path, 'log.db');
      const copy = join(directory.path, 'copy.db');
      service = await startService({}, path);
      await push('shared', range(1, SHARED));
      if (knowledge === 'term') {
        copyLog(path, copy);
      } else {
        await service.stop();
        copyLog(path, copy);
        service = await startService({}, path);
      }
      await push('lost', range(SHARED + 1, SHARED + LOST));
      for (const transport of TRANSPORTS) {
        const places = memoryStore('places');
        const cursors = memoryStore('cursors');
        for (const store of [places, cursors]) {
          // The loop takes an event when it asks for the next one: the signal ends it after that.
          const stop = new AbortController();
          await read(
            {
              accessId: transport,
              transports: [transport],
              signal: stop.signal,
              store: {
                load: store.load,
                async save(accessId, cursor, place) {
                  await store.save(accessId, cursor, place);
                  if (place?.version === SHARED + LOST) {
                    stop.abort();
                  }
                },
              },
            },
            () => false,
          );
        }
        stores.set(transport, places);
        plainStores.set(transport, cursors);
      }
      const printed = await tail();
      assert.equal(printed.code, 0, printed.stderr);
      await service.stop();
      copyLog(copy, path);
      service = await startService({}, path);
      await readBeforeGrowth();
      await push('new', range(SHARED + 1, SHARED + 5));
    });
    after(async () => {
      await service.stop();
      directory.remove();
    });

    it('G13: tail says which events did not happen, and how to continue from what is common', async () => {
      const refused = await tail();
      assert.deepEqual([refused.code, refused.stdout], [1, '']);
      const [, from = '', through] =
        /Versions (\d+) to (\d+) must count as not having happened/.exec(refused.stderr) ?? [];
      assert.equal(through, String(SHARED + LOST), refused.stderr);
      assert.ok(refused.stderr.includes('ERR_CURSOR_DIVERGED'));
      const [, cursor = ''] = /last common event: --after (\S+)/.exec(refused.stderr) ?? [];
      const printed = await tail('--after', cursor);
      assert.deepEqual(
        printed.stdout
          .split('\n')
          .filter(Boolean)
          .map((text) => (JSON.parse(text) as { version: number }).version),
        range(Number(from), SHARED + 5),
      );
      // The state file has the new place.
      assert.deepEqual(
        [await tail()].map(({ code, stdout }) => [code, stdout]),
        [[0, '']],
      );
    });

    for (const transport of TRANSPORTS) {
      it(`G13: over ${transport}, the verdict names what cannot be proven, and the loop continues exactly after what is common`, async () => {
        const store = stores.get(transport);
        assert.ok(store !== undefined);
        const options = { accessId: transport, transports: [transport], store };
        let thrown: ClientError | undefined;
        await assert.rejects(
          read(options, () => true),
          (error) => {
            thrown = error as ClientError;
            return error instanceof ClientError && error.code === 'ERR_CURSOR_DIVERGED';
          },
        );
        assert.ok(thrown?.unproven !== undefined && thrown.common !== undefined);
        assert.equal(thrown.commonBy, knowledge);
        const { common, unproven } = early.get(transport) ?? assert.fail('no verdict before the log grew');
        assert.deepEqual([common, unproven], [thrown.common, thrown.unproven]);
        assert.equal(thrown.accessId, transport);
        const { from = 0, through } = thrown.unproven;
        assert.equal(through, SHARED + LOST);
        if (knowledge === 'term') {
          assert.equal(from, SHARED + 1);
        } else {
          // At doubling distances, the newest common cursor is at most as far back as twice the loss.
          assert.ok(from <= SHARED + 1 && from > SHARED + 1 - 2 * LOST, `from ${from}`);
        }
        const verdicts: ClientError[] = [];
        const events = await read(
          {
            ...options,
            onVerdict: (error) => {
              verdicts.push(error);
              return Promise.resolve(error.common ?? 'throw');
            },
          },
          ({ version }) => version === SHARED + 5,
        );
        assert.equal(verdicts.length, 1);
        assert.deepEqual(verdicts[0]?.unproven, thrown.unproven);
        assert.deepEqual(
          events.map(({ version, payload }) => [version, payload]),
          range(from, SHARED + 5).map((version) => [
            version,
            payloadOf(version <= SHARED ? 'shared' : 'new', version),
          ]),
        );
      });

      it(`G13: over ${transport}, a store of plain cursors gets the verdict, and the floor is a way on`, async () => {
        const store = plainStores.get(transport);
        assert.ok(store !== undefined);
        const verdicts: ClientError[] = [];
        const events = await read(
          {
            accessId: transport,
            transports: [transport],
            store,
            onVerdict: (error) => {
              verdicts.push(error);
              return 'floor';
            },
          },
          ({ version }) => version === SHARED + 5,
        );
        assert.deepEqual(
          verdicts.map(({ code, unproven }) => [code, unproven]),
          [
            [
              'ERR_CURSOR_DIVERGED',
              { from: knowledge === 'term' ? SHARED + 1 : undefined, through: undefined },
            ],
          ],
        );
        assert.deepEqual(
          events.map(({ version }) => version),
          range(1, SHARED + 5),
        );
      });
    }
  });
}

it('the stores keep the trail with the cursor, and load what earlier releases wrote', async () => {
  const directory = temporaryDirectory();
  const path = join(directory.path, 'cursors.json');
  const place = { cursor: 'e.3', version: 3, trail: [{ cursor: 'e.2', version: 2 }] };
  const store = fileStore(path, { maxLagMs: 60_000 });
  await store.save('a', 'e.3', place);
  // An application that wraps the store may pass the cursor alone.
  await store.save('b', 'e.1');
  store.flush();
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), { a: place, b: 'e.1' });
  assert.deepEqual(fileStore(path).load('a'), place);
  assert.equal(fileStore(path).load('b'), 'e.1');
  directory.remove();
});

describe('the trail', () => {
  it('has one older cursor for each power of two of versions back, and at most 24', () => {
    let place: FeedPlace = { cursor: 'e.0', trail: [] };
    for (let version = 1; version <= 5_000; version += 1) {
      place = placeAfter(place, { cursor: `e.${version}`, version });
      const distances = place.trail.map((mark) => version - mark.version);
      const powers = distances.map((distance) => Math.floor(Math.log2(distance)));
      assert.deepEqual(powers, [...Array(Math.floor(Math.log2(version)) + 1).keys()], `version ${version}`);
      assert.ok(place.trail.every((mark) => mark.cursor === `e.${mark.version}`));
    }
    const trail = Array.from({ length: 100 }, (_, index) => ({ cursor: `e.${index}`, version: 99 - index }));
    const far = placeAfter(
      { cursor: 'e.100', version: 2 ** 40, trail },
      { cursor: 'e.101', version: 2 ** 40 + 1 },
    );
    assert.deepEqual(far.trail, [{ cursor: 'e.100', version: 2 ** 40 }]);
    assert.equal(parsePlace({ cursor: 'e.100', version: 100, trail })?.trail.length, 24);
  });

  it('of a store is used only as far as it is one', () => {
    for (const nothing of [undefined, null, 7, [], {}, { cursor: 7 }]) {
      assert.equal(parsePlace(nothing), undefined);
    }
    assert.deepEqual(parsePlace('e.3'), { cursor: 'e.3', trail: [] });
    assert.deepEqual(parsePlace({ cursor: 'e.3' }), { cursor: 'e.3', trail: [] });
    const trail = [null, 'e.2', { cursor: 'e.4', version: 4 }, { cursor: 'e.1', version: 1 }];
    assert.deepEqual(parsePlace({ cursor: 'e.3', version: 3, trail }), {
      cursor: 'e.3',
      version: 3,
      trail: [{ cursor: 'e.1', version: 1 }],
    });
  });

  it('survives a reload of the page in localStorageStore, which also loads the cursor of an earlier release', async () => {
    const items = new Map([['lastseen:old', 'e.7']]);
    const store = localStorageStore('lastseen:', {
      getItem: (key) => items.get(key) ?? null,
      setItem: (key, value) => void items.set(key, value),
    });
    const place = { cursor: 'e.3', version: 3, trail: [{ cursor: 'e.2', version: 2 }] };
    await store.save('a', 'e.3', place);
    await store.save('b', 'e.1');
    assert.deepEqual(['a', 'b', 'old', 'none'].map(store.load), [place, 'e.1', 'e.7', null]);
  });
});

it('G3, G13: a poll whose page cursor is refused continues from the cursor of the loop', async () => {
  const runtime = createManualRuntime();
  const refusal = { code: 'ERR_CURSOR_DIVERGED', detail: 'no', floor: 'e.0', access_id: 'a' };
  const event = (version: number): unknown => ({ cursor: `e.${version}`, access_id: 'a', version });
  const requests: string[] = [];
  const answers = [
    Response.json({ events: [event(1)], cursor: 'e.1', caught_up: false }),
    // The page ends after events of other feeds.
    Response.json({ events: [event(2)], cursor: 'e.9', caught_up: true }),
    Response.json(refusal, { status: 409 }),
    Response.json({ events: [event(3)], cursor: 'e.3', caught_up: true }),
  ];
  const options: SubscribeOptions = {
    url: 'http://server',
    accessId: 'a',
    after: 'e.0',
    transports: ['poll'],
    fetch: (url) => {
      const query = new URL(url).searchParams;
      requests.push([query.get('after'), query.get('trail')].join(' '));
      return Promise.resolve(answers.shift() ?? assert.fail('one request too many'));
    },
    onState: (state) => {
      if (state.name === 'waiting') {
        void runtime.advance(state.pauseMs);
      }
    },
    onVerdict: () => assert.fail('nothing of this feed is lost'),
  };
  const seen: number[] = [];
  for await (const { version } of subscribeWith(options, runtime)) {
    seen.push(version);
    if (version === 3) {
      break;
    }
  }
  assert.deepEqual(seen, [1, 2, 3]);
  assert.deepEqual(requests, ['e.0 ', 'e.1 ', 'e.9 ', 'e.2 e.1,e.0']);
});
