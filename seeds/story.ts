/** A day at a small shop: two customers, a courier, one event that arrives late. `knex seed:run` and `lastseen seed` append it. */
import { readConfig } from '../src/config.ts';
import type { Database } from '../src/engines/engine.ts';
import { openEngine } from '../src/engines/open.ts';
import type { NewEvent } from '../src/log/event.ts';
import { createLog } from '../src/log/log.ts';
import { systemRuntime } from '../src/system-runtime.ts';

/** An event of that day; `time` is HH:MM:SS in UTC. */
function storyEvent(
  { id, accessId, time }: { readonly id: string; readonly accessId: string; readonly time: string },
  payload: unknown,
): NewEvent {
  const createdAt = Date.parse(`2026-01-05T${time}Z`);
  return { id, accessId, createdAt, payload: JSON.stringify(payload) };
}

export const story: readonly NewEvent[] = [
  storyEvent(
    { id: 'o-1', accessId: 'ada', time: '09:00:00' },
    { type: 'order.placed', order: 1, items: ['tea', 'cup'] },
  ),
  storyEvent(
    { id: 'o-1-paid', accessId: 'ada', time: '09:00:04' },
    { type: 'order.paid', order: 1, cents: 1250 },
  ),
  storyEvent(
    { id: 'o-2', accessId: 'grace', time: '09:12:30' },
    { type: 'order.placed', order: 2, items: ['ink'] },
  ),
  storyEvent(
    { id: 'route-1', accessId: 'courier/7', time: '10:00:00' },
    { type: 'route.given', orders: [1, 2] },
  ),
  storyEvent({ id: 'o-1-out', accessId: 'ada', time: '10:05:00' }, { type: 'order.on_its_way', order: 1 }),
  storyEvent({ id: 'o-2-out', accessId: 'grace', time: '10:05:00' }, { type: 'order.on_its_way', order: 2 }),
  storyEvent({ id: 'o-1-done', accessId: 'ada', time: '11:20:00' }, { type: 'order.delivered', order: 1 }),
  storyEvent({ id: 'o-2-done', accessId: 'grace', time: '11:45:00' }, { type: 'order.delivered', order: 2 }),
  // Paid at the door in the morning; the courier's phone was offline until the evening.
  storyEvent(
    { id: 'o-2-paid', accessId: 'grace', time: '11:44:00' },
    { type: 'order.paid', order: 2, cents: 480 },
  ),
  storyEvent(
    { id: 'route-1-end', accessId: 'courier/7', time: '18:00:00' },
    { type: 'route.ended', delivered: 2 },
  ),
];

/** Appends the story to the database and returns the number of its events that were new. @throws ERR_STORE_LOCKED */
export async function appendStory(database: Database): Promise<number> {
  const { store } = await openEngine(database, { runtime: systemRuntime });
  const log = await createLog({ store, runtime: systemRuntime });
  try {
    const receipts = await log.append({ events: story, key: null });
    return receipts.filter((receipt) => !receipt.duplicate).length;
  } finally {
    await log.close();
  }
}

/** For `knex seed:run`. */
export async function seed(): Promise<void> {
  await appendStory(readConfig(process.env).database);
}
