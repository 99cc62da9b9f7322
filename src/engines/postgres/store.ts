/** The log in a PostgreSQL database: opens one history of it after the other, and wakes its readers. */
import type { EventStore } from '../../log/store.ts';
import { toStoreError } from './connection.ts';
import { openPostgresHistory, type PostgresHistoryOptions } from './history.ts';

export type PostgresStoreOptions = Omit<PostgresHistoryOptions, 'onWake'>;

export function createPostgresStore(options: PostgresStoreOptions): EventStore {
  const wakeListeners = new Set<() => void>();

  return {
    async open() {
      try {
        return await openPostgresHistory({
          ...options,
          onWake: () => {
            for (const listener of wakeListeners) {
              listener();
            }
          },
        });
      } catch (error) {
        throw toStoreError(error);
      }
    },
    onWake(listener) {
      wakeListeners.add(listener);
      return () => wakeListeners.delete(listener);
    },
    close: () => Promise.resolve(),
  };
}
