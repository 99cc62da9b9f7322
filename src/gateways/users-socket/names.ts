/** What users are called on the wire: their nickname, or their id without one. */
import type { User } from '../../identity/user-store.ts';
import type { Users } from '../../identity/users.ts';
import type { Clock } from '../../runtime.ts';

export interface Names {
  /** As this process saw it last, or the id. */
  lastKnown(id: string): string;
  /** Looks a name up again unless that was done within the last second; `undefined` when there is nothing to wait for. */
  refresh(id: string): Promise<void> | undefined;
  remember(user: User): void;
}

/** Names remembered, so that the removal of a user can name it; the oldest go first. */
const MAX_NAMES = 50_000;

/** A name is looked up again after so long: a socket that catches up names the same users many times. */
const MAX_AGE_MS = 1_000;

export function nameOf(user: User): string {
  return user.nickname ?? user.id;
}

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
