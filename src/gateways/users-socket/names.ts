/** What users are called on the wire: their nickname, or their id without one. */
import type { User } from '../../identity/user-store.ts';
import type { Users } from '../../identity/users.ts';

export interface Names {
  /** As it is, or was within the last second; of a user that is gone, as `last`. */
  of(id: string): string | Promise<string>;
  /** As this process saw it last, or the id. */
  last(id: string): string;
  keep(user: User): void;
}

/** Names remembered, for telling of users that are removed; the oldest go first. */
const MAX_NAMES = 50_000;

/** A name is looked up again after so long: who catches up is told of the same users many times. */
const FRESH_MS = 1_000;

export function nameOf(user: User): string {
  return user.nickname ?? user.id;
}

export function createNames(users: Pick<Users, 'find'>): Names {
  const names = new Map<string, { readonly name: string; readonly at: number }>();

  function remember(id: string, name: string): string {
    names.delete(id);
    if (names.size >= MAX_NAMES) {
      names.delete(names.keys().next().value ?? '');
    }
    names.set(id, { name, at: performance.now() });
    return name;
  }

  async function lookUp(id: string): Promise<string> {
    const user = await users.find(id);
    return remember(id, user === undefined ? (names.get(id)?.name ?? id) : nameOf(user));
  }

  return {
    keep(user) {
      remember(user.id, nameOf(user));
    },
    last: (id) => names.get(id)?.name ?? id,
    of(id) {
      const known = names.get(id);
      return known !== undefined && performance.now() - known.at < FRESH_MS ? known.name : lookUp(id);
    },
  };
}
