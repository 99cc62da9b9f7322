/**
 * Control travels through the log: what the service does to users is an event of the reserved feed `$users`, and
 * every process follows it like any subscriber, so that it acts everywhere (G10).
 */
import type { Log } from '../log/log.ts';
import type { Event } from '../log/event.ts';
import type { Hub } from './hub.ts';

const USERS = '$users';

/** Appends that `accessId` is dropped; resolves once it is on disk. Every process then closes its connections. */
export async function dropUser(log: Log, accessId: string): Promise<void> {
  const payload = JSON.stringify({ type: 'dropped', access_id: accessId });
  await log.append({ events: [{ accessId: USERS, createdAt: null, id: null, payload }], key: null });
}

/** Follows control from now on. Returns how to stop. */
export function followControl(log: Log, hub: Hub, onFault: (error: unknown) => void): () => void {
  let isReading = false;
  let isWoken = false;
  const subscription = log.subscribe(USERS, log.head, read);

  function read(): void {
    isWoken = true;
    if (!isReading) void obeyAll();
  }

  async function obeyAll(): Promise<void> {
    isReading = true;
    try {
      while (isWoken) {
        isWoken = false;
        for (
          let events = await subscription.next();
          events !== undefined;
          events = await subscription.next()
        ) {
          for (const event of events) obey(event);
        }
      }
    } catch (error) {
      onFault(error);
    } finally {
      isReading = false;
    }
  }

  function obey(event: Event): void {
    const order = JSON.parse(event.payload) as { type?: unknown; access_id?: unknown };
    if (order.type === 'dropped' && typeof order.access_id === 'string')
      hub.drop(order.access_id, event.position);
  }

  return () => {
    subscription.close();
  };
}
