/** A day at a small shop: two customers, a courier, one event that arrives late. `knex seed:run` and `lastseen seed` load it. */
import { readConfig } from '../src/config.ts';
import type { Database } from '../src/engines/engine.ts';
import { openEngine } from '../src/engines/open.ts';
import type { NewEvent } from '../src/log/event.ts';
import { createLog } from '../src/log/log.ts';
import { systemRuntime } from '../src/system-runtime.ts';

const at = (time: string): number => Date.parse(`2026-01-05T${time}Z`);

function line(id: string, accessId: string, time: string, payload: unknown): NewEvent {
  return { id, accessId, createdAt: at(time), payload: JSON.stringify(payload) };
}

export const story: readonly NewEvent[] = [
  line('o-1', 'ada', '09:00:00', { type: 'order.placed', order: 1, items: ['tea', 'cup'] }),
  line('o-1-paid', 'ada', '09:00:04', { type: 'order.paid', order: 1, cents: 1250 }),
  line('o-2', 'grace', '09:12:30', { type: 'order.placed', order: 2, items: ['ink'] }),
  line('route-1', 'courier/7', '10:00:00', { type: 'route.given', orders: [1, 2] }),
  line('o-1-out', 'ada', '10:05:00', { type: 'order.on_its_way', order: 1 }),
  line('o-2-out', 'grace', '10:05:00', { type: 'order.on_its_way', order: 2 }),
  line('o-1-done', 'ada', '11:20:00', { type: 'order.delivered', order: 1 }),
  line('o-2-done', 'grace', '11:45:00', { type: 'order.delivered', order: 2 }),
  // Paid at the door in the morning; the courier's phone was offline until the evening.
  line('o-2-paid', 'grace', '11:44:00', { type: 'order.paid', order: 2, cents: 480 }),
  line('route-1-end', 'courier/7', '18:00:00', { type: 'route.ended', delivered: 2 }),
];

/** Appends the story to the database; returns how many of its events were new. @throws ERR_STORE_LOCKED */
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
