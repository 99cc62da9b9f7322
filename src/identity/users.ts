/** Registered users. Each change writes a row and an event of `$users` together. The events hold ids and no personal data. */
import { LastseenError, quote } from '../errors.ts';
import { serviceEvent } from '../log/event.ts';
import type { RowChange } from '../log/store.ts';
import type { Runtime } from '../runtime.ts';
import { type Append, USERS } from './feeds.ts';
import { ADMIN, ANYONE, PROVIDER_PREFIX } from './principal.ts';
import type { TokenStore } from './token-store.ts';
import type { MetaEntry, User, UserQuery, UserStore } from './user-store.ts';

/** Bytes of a user's meta, written as JSON. */
export const MAX_META_BYTES = 64 * 1024;

export type UserAttributes = Pick<User, 'nickname' | 'stampsCollected'>;

export interface Users {
  register(attributes: UserAttributes): Promise<User>;
  find(id: string): Promise<User | undefined>;
  list(query: UserQuery): Promise<User[]>;
  /** The user with this id, else the only one with this nickname. @throws ERR_REQUEST_INVALID when several have it */
  findByName(name: string): Promise<User | undefined>;
  /** The user that the subject of one of our own tokens names. */
  findBySubject(subject: string): Promise<User | undefined>;
  /** @throws ERR_NOT_FOUND */
  update(id: string, attributes: Partial<UserAttributes>): Promise<User>;
  /** Removes the user, revokes its tokens and so closes its connections. @throws ERR_NOT_FOUND */
  remove(id: string): Promise<void>;
  /** What applications keep beside the user: all properties, or one. */
  meta(id: string, property?: string): Promise<readonly MetaEntry[]>;
  /**
   * Writes all these properties or none. With `isWhole` it removes all others.
   * @throws ERR_NOT_FOUND, ERR_TOO_LARGE
   */
  writeMeta(id: string, entries: readonly MetaEntry[], options: { readonly isWhole: boolean }): Promise<void>;
}

/** Subjects that name no user, even if a user has such a nickname. */
const RESERVED_SUBJECTS: readonly string[] = [ADMIN.subject, ANYONE.subject];

/** The user that the subject of one of our own tokens names: by id, or by a nickname that no other user has. */
export async function findUserBySubject(
  users: Pick<UserStore, 'find' | 'list'>,
  subject: string,
): Promise<User | undefined> {
  if (RESERVED_SUBJECTS.includes(subject) || subject.startsWith(PROVIDER_PREFIX)) {
    return undefined;
  }
  const found = await findUsersByName(users, subject);
  return found.length === 1 ? found[0] : undefined;
}

/** At most two users: the second shows that the name is ambiguous. */
async function findUsersByName(users: Pick<UserStore, 'find' | 'list'>, name: string): Promise<User[]> {
  const user = await users.find(name);
  return user === undefined ? users.list({ nickname: name, limit: 2 }) : [user];
}

export interface UsersOptions {
  readonly users: UserStore;
  readonly tokens: Pick<TokenStore, 'revokeOfSubject'>;
  readonly append: Append;
  readonly runtime: Pick<Runtime, 'clock' | 'random'>;
}

export function createUsers({ users, tokens, append, runtime }: UsersOptions): Users {
  const { clock, random } = runtime;

  async function write(type: string, id: string, rows: readonly RowChange[]): Promise<void> {
    try {
      await append({ events: [serviceEvent(USERS, { type, id })], key: null, rows });
    } catch (error) {
      if (!(error instanceof LastseenError) || error.code !== 'ERR_CHANGED_MEANWHILE') {
        throw error;
      }
      throw userNotFound(id);
    }
  }

  return {
    async register(attributes) {
      const now = clock.now();
      const user: User = { id: random.uuid(), ...attributes, insertedAt: now, updatedAt: now };
      await write('registered', user.id, [users.insert(user)]);
      return user;
    },
    find: (id) => users.find(id),
    list: (query) => users.list(query),
    async findByName(name) {
      const [user, other] = await findUsersByName(users, name);
      if (other !== undefined) {
        throw new LastseenError('ERR_REQUEST_INVALID', `several users are named ${quote(name)}: give the id`);
      }
      return user;
    },
    findBySubject: (subject) => findUserBySubject(users, subject),
    async update(id, attributes) {
      const before = await users.find(id);
      if (before === undefined) {
        throw userNotFound(id);
      }
      const user: User = { ...before, ...attributes, updatedAt: clock.now() };
      await write('changed', id, [users.update(user)]);
      return user;
    },
    async remove(id) {
      const rows = [users.remove(id), users.removeMeta(id), tokens.revokeOfSubject(id, clock.now())];
      await write('removed', id, rows);
    },
    meta: (id, property) => users.meta(id, property),
    async writeMeta(id, entries, { isWhole }) {
      const outcome = await users.writeMeta({ userId: id, entries, isWhole, maxBytes: MAX_META_BYTES });
      if (outcome === 'no-user') {
        throw userNotFound(id);
      }
      if (outcome === 'too-large') {
        const message = `the meta of a user may have at most ${MAX_META_BYTES} bytes: nothing was written`;
        throw new LastseenError('ERR_TOO_LARGE', message);
      }
    },
  };
}

function userNotFound(id: string): LastseenError {
  return new LastseenError('ERR_NOT_FOUND', `No user record found with \`id: ${id}\``);
}
