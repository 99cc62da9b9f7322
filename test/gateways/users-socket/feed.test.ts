/** The subscription of a users socket: its position never runs ahead of the events that it has handed out. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { openFeed } from '../../../src/gateways/users-socket/feed.ts';
import type { LogEvent } from '../../../src/log/event.ts';
import type { Log } from '../../../src/log/log.ts';
import { type Lineage, originOf, type Place } from '../../../src/log/place.ts';

const lineage: Lineage = { epoch: 'epoch000' };

const registered = (position: number): LogEvent => ({
  lineage,
  position,
  tag: position,
  accessId: '$users',
  version: position,
  createdAt: 0,
  recordedAt: 0,
  id: null,
  payload: JSON.stringify({ type: 'registered', id: `user-${position}` }),
});

it('G3: while names are looked up, a heartbeat has no cursor beyond what the client received', async () => {
  const events = [registered(8), registered(9)];
  const start = { ...originOf(lineage), position: 7 };
  let place: Place = start;
  const log = {
    subscribeAll: () => ({
      get place() {
        return place;
      },
      isLive: false,
      next() {
        place = events[1] ?? start;
        return events;
      },
      close: () => undefined,
    }),
  } as unknown as Log;
  let finishLookUp: () => void = () => undefined;
  const lookUp = new Promise<void>((resolve) => (finishLookUp = resolve));
  const names = {
    lastKnown: (id: string) => id,
    refresh: () => lookUp,
    remember: () => undefined,
  };
  const feed = openFeed({ log, names }, start, () => undefined);
  const page = feed.next();
  assert.equal(feed.place.position, 7, 'nothing was handed out yet');
  finishLookUp();
  assert.deepEqual(await page, events);
  assert.equal(feed.place.position, 9);
});
