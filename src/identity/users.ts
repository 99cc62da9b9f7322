/** Registered users. Each change is a row and an event of `$users`, together; the events hold ids, nothing personal. */
import { randomUUID } from 'node:crypto';
import { LastseenError } from '../log/errors.ts';
import type { AppendRequest, Receipt, RowChange } from '../log/store.ts';
import type { IdentityStore, User, UserQuery } from './store.ts';

export const USERS = '$users';

export type UserAttributes = Pick<User, 'nickname' | 'stampsCollected'>;

export interface Users {
  register(attributes: UserAttributes): Promise<User>;
  find(id: string): Promise<User | undefined>;
  list(query: UserQuery): Promise<User[]>;
  /** @throws ERR_NOT_FOUND */
  change(id: string, attributes: Partial<UserAttributes>): Promise<User>;
  /** Its tokens are revoked and its connections closed with it. @throws ERR_NOT_FOUND */
  remove(id: string): Promise<void>;
}

export function createUsers(
  store: IdentityStore,
  append: (request: AppendRequest) => Promise<readonly Receipt[]>,
): Users {
  async function write(type: string, id: string, rows: readonly RowChange[]): Promise<void> {
    const payload = JSON.stringify({ type, id });
    try {
      await append({ events: [{ accessId: USERS, createdAt: null, id: null, payload }], key: null, rows });
    } catch (error) {
      if (!(error instanceof LastseenError) || error.code !== 'ERR_CHANGED_MEANWHILE') throw error;
      throw missing(id);
    }
  }

  return {
    async register(attributes) {
      const now = Date.now();
      const user: User = { id: randomUUID(), ...attributes, insertedAt: now, updatedAt: now };
      await write('registered', user.id, [store.insertUser(user)]);
      return user;
    },
    find: (id) => store.user(id),
    list: (query) => store.users(query),
    async change(id, attributes) {
      const before = await store.user(id);
      if (before === undefined) throw missing(id);
      const user: User = { ...before, ...attributes, updatedAt: Date.now() };
      await write('changed', id, [store.updateUser(user)]);
      return user;
    },
    async remove(id) {
      await write('removed', id, [store.removeUser(id), store.revokeSubjectTokens(id, Date.now())]);
    },
  };
}

function missing(id: string): LastseenError {
  return new LastseenError('ERR_NOT_FOUND', `No user record found with \`id: ${id}\``);
}
