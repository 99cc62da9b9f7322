/** Names of users on the wire: the nickname, or the id without a nickname. */
import type { User } from '../../identity/user-store.ts';
import type { Users } from '../../identity/users.ts';
import type { Clock } from '../../runtime.ts';

/** A cache of names. */
export interface Names {
  /** Returns the last known name, or the id. */
  lastKnown(id: string): string;
  /**
   * Loads a name, unless it was loaded within the last second. Returns `undefined` if there is nothing to
   * wait for.
   */
  refresh(id: string): Promise<void> | undefined;
  /** Stores the name of a loaded user. */
  remember(user: User): void;
}

/**
 * Maximum number of cached names. The cache keeps the name of a removed user, and evicts the oldest names
 * first.
 */
const MAX_NAMES = 50_000;

/** Age after which a name is loaded again. A socket that catches up names the same users many times. */
const MAX_AGE_MS = 1_000;

/** Returns the name of a user. */
export function nameOf(user: User): string {
  return user.nickname ?? user.id;
}

/** Creates an empty cache. */
export function createNames(users: Pick<Users, 'find'>, clock: Clock): Names {
  const names = new Map<string, { readonly name: string; readonly readAt: number }>();

  function remember(id: string, name: string): void {
    names.delete(id);
    if (names.size >= MAX_NAMES) {
      names.delete(names.keys().next().value ?? '');
    }
    names.set(id, { name, readAt: clock.steady() });
  }

  async function lookUp(id: string): Promise<void> {
    const user = await users.find(id);
    remember(id, user === undefined ? (names.get(id)?.name ?? id) : nameOf(user));
  }

  return {
    remember(user) {
      remember(user.id, nameOf(user));
    },
    lastKnown: (id) => names.get(id)?.name ?? id,
    refresh(id) {
      const cached = names.get(id);
      const isFresh = cached !== undefined && clock.steady() - cached.readAt < MAX_AGE_MS;
      return isFresh ? undefined : lookUp(id);
    },
  };
}
