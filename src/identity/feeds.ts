/** The service's own feeds: events about users and tokens, which every node follows (G10). */
import type { AppendRequest, Receipt } from '../log/store.ts';

/** Users registered, changed, removed, dropped, logged in, logged out. */
export const USERS = '$users';

/** Tokens issued and revoked, clients created and removed. */
export const CONTROL = '$control';

/** Appends events and the rows that belong to them, whole or not at all. */
export type Append = (request: AppendRequest) => Promise<readonly Receipt[]>;
