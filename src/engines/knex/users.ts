/** Users, kept by knex: the same on both engines. */
import type { Knex } from 'knex';
import type { User, UserStore } from '../../identity/user-store.ts';
import { rowChange } from './row-change.ts';
import { createUserMeta } from './user-meta.ts';

interface UserRow {
  id: string;
  nickname: string | null;
  stamps_collected: number | string;
  inserted_at: number | string;
  updated_at: number | string;
}

export function createUserStore(knex: Knex): UserStore {
  return {
    async find(id) {
      const row = await knex<UserRow>('users').where({ id }).first();
      return row === undefined ? undefined : userOf(row);
    },
    async list({ limit, after, nickname }) {
      const query = knex<UserRow>('users')
        .orderBy([{ column: 'inserted_at' }, { column: 'id' }])
        .limit(limit);
      if (nickname !== undefined) {
        void query.where({ nickname });
      }
      if (after !== undefined) {
        void query.where((either) => {
          void either
            .where('inserted_at', '>', after.insertedAt)
            .orWhere((same) => void same.where('inserted_at', after.insertedAt).where('id', '>', after.id));
        });
      }
      return (await query).map(userOf);
    },
    insert: (user) => rowChange(knex('users').insert(rowOf(user))),
    update: (user) => rowChange(knex('users').where({ id: user.id }).update(rowOf(user)), 1),
    remove: (id) => rowChange(knex('users').where({ id }).delete(), 1),
    ...createUserMeta(knex),
  };
}

function userOf(row: UserRow): User {
  return {
    id: row.id,
    nickname: row.nickname,
    stampsCollected: Number(row.stamps_collected),
    insertedAt: Number(row.inserted_at),
    updatedAt: Number(row.updated_at),
  };
}

function rowOf(user: User): UserRow {
  return {
    id: user.id,
    nickname: user.nickname,
    stamps_collected: user.stampsCollected,
    inserted_at: user.insertedAt,
    updated_at: user.updatedAt,
  };
}
