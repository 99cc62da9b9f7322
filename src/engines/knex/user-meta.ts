/** The meta of users, kept by knex: the same on both engines. */
import type { Knex } from 'knex';
import type { UserStore } from '../../identity/user-store.ts';
import { rowChange } from './row-change.ts';

interface MetaRow {
  user_id: string;
  property: string;
  value: string;
  bytes: number;
}

/** Both databases accept a statement of this size. */
const ROWS_PER_STATEMENT = 100;

class TooLarge extends Error {}

export function createUserMeta(knex: Knex): Pick<UserStore, 'meta' | 'writeMeta' | 'removeMeta'> {
  return {
    async meta(userId, property) {
      const query = knex<MetaRow>('user_meta').where({ user_id: userId }).orderBy('property');
      if (property !== undefined) {
        void query.where({ property });
      }
      return (await query).map(({ property: name, value }) => ({ property: name, value }));
    },
    async writeMeta({ userId, entries, isWhole, maxBytes }) {
      try {
        return await knex.transaction(async (transaction) => {
          // A write first. On SQLite it takes the write lock, which a transaction that began with a read may not get.
          // On PostgreSQL it makes writers of one user take turns, so that the sum below is right.
          const found = await transaction('users').where({ id: userId }).update({ id: userId });
          if (found === 0) {
            return 'no-user';
          }
          if (isWhole) {
            await transaction('user_meta').where({ user_id: userId }).delete();
          }
          for (let from = 0; from < entries.length; from += ROWS_PER_STATEMENT) {
            const rows = entries.slice(from, from + ROWS_PER_STATEMENT).map(({ property, value }) => ({
              user_id: userId,
              property,
              value,
              bytes: Buffer.byteLength(JSON.stringify(property)) + Buffer.byteLength(value) + 2,
            }));
            await transaction('user_meta').insert(rows).onConflict(['user_id', 'property']).merge();
          }
          const sums = await transaction('user_meta').where({ user_id: userId }).sum({ bytes: 'bytes' });
          if (Number(sums[0]?.['bytes'] ?? 0) > maxBytes) {
            throw new TooLarge();
          }
          return 'written';
        });
      } catch (error) {
        if (error instanceof TooLarge) {
          return 'too-large';
        }
        throw error;
      }
    },
    removeMeta: (userId) => rowChange(knex('user_meta').where({ user_id: userId }).delete()),
  };
}
