/** The PostgreSQL engine: the contract, and what is its own. */
import { describe } from 'node:test';
import { openPostgresEngine } from '../../src/engines/postgres/engine.ts';
import type { EventStore } from '../../src/log/store.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { createDatabase } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { storeContract } from './contract.ts';

describe('with a PostgreSQL', { skip: missing('PostgreSQL') }, () => {
  storeContract('PostgreSQL', async () => {
    const database = await createDatabase();
    const open = async (): Promise<EventStore> =>
      (await openPostgresEngine({ url: database.url, listenUrl: database.url, runtime: systemRuntime }))
        .store;
    let store = await open();
    return {
      store: () => store,
      async reopen() {
        await store.close();
        store = await open();
        return store;
      },
      async close() {
        await store.close();
        await database.drop();
      },
    };
  });
});
