/** The trail of a feed: how many places it keeps, how far apart they are, and what a store gets of it. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { cursorFrom, type CursorStore } from '../../src/client/index.ts';
import { fileStore } from '../../src/client/node.ts';
import type { ClientEvent } from '../../src/client/subscribe/event.ts';
import { loadFeedCursors } from '../../src/client/subscribe/feed-cursors.ts';
import { createTrail, type Trail } from '../../src/client/subscribe/trail.ts';
import { MAX_TRAIL } from '../../src/log/cursor.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const cursorOf = (version: number): string => `e.${version}`;

/** A trail of a loop that began after `first` and has taken `count` events. */
function trailOf(first: number, count: number): Trail {
  const trail = createTrail(undefined);
  for (let version = first + 1; version <= first + count; version += 1) {
    trail.add({ cursor: cursorOf(version), version }, cursorOf(version - 1));
  }
  return trail;
}

const versionsOf = (trail: Trail): number[] => trail.cursors().map((cursor) => Number(cursor.split('.')[1]));

const event = (version: number): ClientEvent => ({
  accessId: 'a',
  version,
  createdAt: 1,
  recordedAt: 1,
  id: null,
  payload: version,
  rawPayload: String(version),
  cursor: cursorOf(version),
});

describe('the trail', () => {
  it('G13: it has at most as many cursors as the server accepts, newest first, however long the feed', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 21), fc.integer({ min: 1, max: 3_000 }), (first, count) => {
        const versions = versionsOf(trailOf(first, count));
        assert.ok(versions.length <= 21 && versions.length <= MAX_TRAIL);
        assert.deepEqual(
          versions,
          [...new Set(versions)].sort((a, b) => b - a),
        );
        assert.equal(versions[0], first + count);
        assert.equal(versions.at(-1), first, 'the place where the loop began');
      }),
      { numRuns: 50 },
    );
    // Versions beyond 32 bits have places too.
    assert.deepEqual(versionsOf(trailOf(2 ** 33 - 2, 3)), [2 ** 33 + 1, 2 ** 33, 2 ** 33 - 2]);
  });

  it('G13: whatever number of last events is lost, a common place is at most eight times as far back', () => {
    const total = 20_000;
    const trail = createTrail(undefined);
    for (let version = 1; version <= total; version += 1) {
      trail.add({ cursor: cursorOf(version), version }, version === 1 ? 'start' : cursorOf(version - 1));
      if (version % 997 === 0) {
        const distances = versionsOf(trail).map((at) => version - at);
        for (let lost = 1; lost * 8 < version; lost *= 2) {
          const nearest = distances.find((distance) => distance >= lost);
          assert.ok(
            nearest !== undefined && nearest <= lost * 8,
            `${version}: ${lost} lost, ${distances.join()}`,
          );
        }
      }
    }
  });

  it('it knows the versions of the last events, and of its own places', () => {
    const trail = trailOf(1_000, 5_000);
    assert.equal(trail.lastVersion, 6_000);
    for (let version = 5_800; version <= 6_000; version += 1) {
      assert.equal(trail.versionOf(cursorOf(version)), version);
    }
    for (const version of versionsOf(trail)) {
      assert.equal(trail.versionOf(cursorOf(version)), version);
    }
    assert.equal(trail.versionOf(cursorOf(1_234)), undefined);
  });

  it('a restart at an earlier place forgets the places after it, and keeps those before it', () => {
    const trail = trailOf(0, 100);
    trail.add({ cursor: 'f.81', version: 81 }, cursorOf(80));
    assert.equal(trail.lastVersion, 81);
    assert.equal(trail.versionOf(cursorOf(90)), undefined);
    assert.deepEqual(trail.cursors().slice(0, 3), ['f.81', 'e.80', 'e.64']);
  });

  it('a store gets it as a text, and anything else in the store is no trail', () => {
    const trail = trailOf(41, 100);
    const copy = createTrail(trail.text());
    assert.deepEqual([copy.cursors(), copy.lastVersion], [trail.cursors(), trail.lastVersion]);
    assert.ok(trail.text().length < 1_000);
    for (const text of [undefined, null, '', 'e.1', '1:', ':e.1', '1:a,b', '<html>', '{"a":1}', '-1:e.1']) {
      assert.deepEqual([createTrail(text).cursors(), createTrail(text).lastVersion], [[], undefined]);
    }
    assert.deepEqual(createTrail('7:e.7 rubbish 3:e.3').cursors(), ['e.7', 'e.3']);
  });
});

describe('the stores of cursors', () => {
  it('the trail tells the version at a stored cursor: the first event after a restart must follow it', async () => {
    const texts = new Map<string, string>();
    const cursors: CursorStore = {
      load: () => texts.get('cursor'),
      save: (_, text) => void texts.set('cursor', text),
      trail: { load: () => texts.get('trail'), save: (_, text) => void texts.set('trail', text) },
    };
    const first = await loadFeedCursors({ accessIds: ['a'], store: cursors, after: 'start' });
    for (const version of [1, 2, 3]) {
      first.assertContiguous(event(version));
      await first.take(event(version));
    }
    const second = await loadFeedCursors({ accessIds: ['a'], store: cursors, after: 'start' });
    assert.deepEqual([...second.starts()], [['a', 'e.3']]);
    assert.deepEqual(second.trail('a'), ['e.2']);
    assert.throws(() => second.assertContiguous(event(5)), { code: 'ERR_GAP' });
    second.assertContiguous(event(4));
  });

  it('a restart at the common place expects the version after it, and stores the place', async () => {
    const saved: string[] = [];
    const store = cursorFrom(() => undefined);
    const cursors = await loadFeedCursors({
      accessIds: ['a'],
      store: { ...store, save: (_, cursor) => void saved.push(cursor) },
      after: 'start',
    });
    for (const version of [1, 2, 3, 4]) {
      await cursors.take(event(version));
    }
    await cursors.restartAt('e.2', 'a');
    assert.throws(() => cursors.assertContiguous(event(5)), { code: 'ERR_GAP' });
    assert.throws(() => cursors.assertContiguous(event(2)), { code: 'ERR_GAP' });
    cursors.assertContiguous(event(3));
    // A place whose version is not known accepts any first version.
    await cursors.restartAt('f.9', 'a');
    cursors.assertContiguous(event(77));
    await cursors.restartAt('start', 'a');
    assert.deepEqual(saved, ['e.1', 'e.2', 'e.3', 'e.4', 'e.2', 'f.9']);
  });

  it('a file of the earlier release loads, and the file keeps its form: a text for each name', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'cursors.json');
    writeFileSync(path, '{"a":"e.7"}');
    const store = fileStore(path, { maxLagMs: 0 });
    const cursors = await loadFeedCursors({ accessIds: ['a'], store, after: 'start' });
    assert.deepEqual([...cursors.starts()], [['a', 'e.7']]);
    await cursors.take(event(8));
    assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), {
      'a\0trail': '8:e.8 7:e.7',
      a: 'e.8',
    });
    assert.equal(fileStore(path).load('a'), 'e.8');
    directory.remove();
  });
});
