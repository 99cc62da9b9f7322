/** What the progress of checkpoints says about readers. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createPinWatch } from '../../src/engines/sqlite/wal-pin.ts';

const MEBIBYTE = 1024 * 1024;

it('a checkpoint that stops at the same frame is held by a reader: the operator hears of it once, and again when the log has doubled', () => {
  const pin = createPinWatch();
  const observe = (now: number, checkpointed: number, mebibytes: number): string => {
    const bytes = mebibytes * MEBIBYTE;
    const { pinnedMs, isNews } = pin.observe({ log: mebibytes * 254, checkpointed, bytes, now });
    return `${pinnedMs}${isNews ? ' news' : ''}`;
  };
  assert.equal(observe(0, 100, 10), '0');
  assert.equal(observe(1_000, 100, 20), '1000');
  // Large, but not for long enough; long enough, but not large; both.
  assert.equal(observe(2_000, 100, 100), '2000');
  assert.equal(observe(6_000, 100, 60), '6000');
  assert.equal(observe(7_000, 100, 70), '7000 news');
  assert.equal(observe(8_000, 100, 139), '8000');
  assert.equal(observe(9_000, 100, 141), '9000 news');
  // Another reader has taken its place.
  assert.equal(observe(10_000, 200, 150), '0');
  assert.equal(observe(16_000, 200, 150), '6000 news');
  // Everything is in the file.
  assert.equal(observe(17_000, 150 * 254, 150), '0');
  assert.equal(observe(30_000, 150 * 254, 150), '0');
});
