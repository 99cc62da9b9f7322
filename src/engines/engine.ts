/** What an engine gives to the rest of the server, and how a database is named. Types only: `open.ts` knows both engines. */
import type { IdentityStores } from '../identity/stores.ts';
import type { EventStore } from '../log/store.ts';
import type { Peers } from '../peers.ts';
import type { Runtime } from '../runtime.ts';

export interface Engine {
  readonly store: EventStore;
  readonly identity: IdentityStores;
  readonly peers: Peers;
  /** The write-ahead log, where it is a file of ours. */
  readonly wal?: WriteAheadLog;
}

export interface WriteAheadLog {
  bytes(): number;
  /** How long a reader has kept its pages from being reused; 0 if none does. */
  pinnedMs(): number;
}

/** Where the log is kept. */
export type Database =
  | { readonly kind: 'sqlite'; readonly path: string }
  | {
      readonly kind: 'postgres';
      /** May hold a password: never log it. */
      readonly url: string;
      /** Direct address for LISTEN; `undefined` polls only. */
      readonly listenUrl: string | undefined;
    };

export interface EngineOptions {
  readonly runtime: Runtime;
  /** Run missing migrations (default) or refuse to open without them. */
  readonly migrate?: boolean;
  /** Called with each failure that no caller awaits. */
  readonly onError?: (error: unknown) => void;
  /** Called once with each thing that the operator should know. */
  readonly onNotice?: (message: string) => void;
  /** Called once when nothing can be appended any more: the process must end at once, without closing the store. */
  readonly onFatal?: (error: Error) => void;
}
