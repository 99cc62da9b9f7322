/** What users are called on the wire: their nickname, or their id without one. */
import type { User } from '../../identity/store.ts';
import type { Users } from '../../identity/users.ts';

export interface Names {
  /** As it is now; of a user that is gone, as `last`. */
  of(id: string): Promise<string>;
  /** As this process saw it last, or the id. */
  last(id: string): string;
  keep(user: User): void;
}

/** Names remembered, for telling of users that are removed; the oldest go first. */
const MAX_NAMES = 50_000;

export function nameOf(user: User): string {
  return user.nickname ?? user.id;
}

export function createNames(users: Pick<Users, 'find'>): Names {
  const names = new Map<string, string>();

  function keep(user: User): void {
    names.delete(user.id);
    if (names.size >= MAX_NAMES) names.delete(names.keys().next().value ?? '');
    names.set(user.id, nameOf(user));
  }

  return {
    keep,
    last: (id) => names.get(id) ?? id,
    async of(id) {
      const user = await users.find(id);
      if (user !== undefined) keep(user);
      return names.get(id) ?? id;
    },
  };
}
