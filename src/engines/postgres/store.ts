/** The log in a PostgreSQL database: opens one history of it after the other, and wakes its readers. */
import type { EventStore, History } from '../../log/store.ts';
import { toStoreError } from './connection.ts';
import { openPostgresHistory, type PostgresHistoryOptions } from './history.ts';

export type PostgresStoreOptions = Omit<PostgresHistoryOptions, 'onWake'>;

export function createPostgresStore(options: PostgresStoreOptions): EventStore {
  const wakeListeners = new Set<() => void>();
  let current: History | undefined;

  return {
    async open() {
      try {
        current = await openPostgresHistory({
          ...options,
          onWake: () => {
            for (const listener of wakeListeners) {
              listener();
            }
          },
        });
        return current;
      } catch (error) {
        throw toStoreError(error);
      }
    },
    onWake(listener) {
      wakeListeners.add(listener);
      return () => wakeListeners.delete(listener);
    },
    async close() {
      await current?.close();
    },
  };
}
