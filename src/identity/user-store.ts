/**
 * The port behind which an engine keeps users and what applications keep beside them. Changes of users are given back as
 * row changes, which go into the log's own transaction beside the event that reports them.
 */
import type { RowChange } from '../log/store.ts';

/** A registered user. Times in milliseconds since 1970. */
export interface User {
  /** A UUID; also the user's own access_id. */
  readonly id: string;
  readonly nickname: string | null;
  readonly stampsCollected: number;
  readonly insertedAt: number;
  readonly updatedAt: number;
}

/** A page of users, oldest first. */
export interface UserQuery {
  readonly limit: number;
  /** The user after which the page begins. */
  readonly after?: { readonly insertedAt: number; readonly id: string };
  readonly nickname?: string;
}

/** One property of what applications keep beside a user. */
export interface MetaEntry {
  /** Any name: dots and `$` mean nothing. */
  readonly property: string;
  /** JSON text. */
  readonly value: string;
}

export interface MetaWrite {
  readonly userId: string;
  readonly entries: readonly MetaEntry[];
  /** The entries replace all properties of the user; otherwise other properties stay. */
  readonly isWhole: boolean;
  /** Of all properties of the user together, written as JSON. */
  readonly maxBytes: number;
}

export interface UserStore {
  find(id: string): Promise<User | undefined>;
  list(query: UserQuery): Promise<User[]>;
  insert(user: User): RowChange;
  /** Refused if there is no such user. */
  update(user: User): RowChange;
  /** Refused if there is no such user. */
  remove(id: string): RowChange;

  /** All properties of a user, or the one that is named, if there is one. */
  meta(userId: string, property?: string): Promise<MetaEntry[]>;
  /** Writes all entries or none. Writers of the same user take turns. */
  writeMeta(write: MetaWrite): Promise<'written' | 'no-user' | 'too-large'>;
  removeMeta(userId: string): RowChange;
}
