/**
 * The port between the device protocol and the service at a path: the log, or a handler of the application.
 */
import type { Session, SessionFeed } from '../../delivery/session.ts';
import type { LastseenError } from '../../errors.ts';
import type { Principal } from '../../identity/principal.ts';
import type { Term } from './etf/term.ts';
import type { DeviceHandler } from './handler.ts';
import type { DeviceTokens } from './tokens.ts';

/** The service at one path. */
export interface DeviceService<O extends DeviceOwner = DeviceOwner> {
  readonly path: string;
  readonly gateway: string;
  readonly tokens: DeviceTokens;
  readonly refreshMs: number;
  /**
   * Idle time: the server closes a device that sends nothing for this time. It also limits the duration of a
   * callback.
   */
  readonly idleMs: number;
  readonly maxMessageBytes: number;
  /** Returns the device of these credentials; `undefined` refuses the connection. */
  login(deviceId: string, credentials: ReadonlyMap<string, Term>): Promise<O | undefined>;
  /** Returns the device of a token; `undefined` if its grant is not valid anymore. */
  resume(deviceId: string, grant: string): Promise<O | undefined>;
  readonly onError?: DeviceHandler['onError'];
  /** Serves an admitted connection. */
  serve(connection: DeviceConnection, owner: O): Callbacks;
}

/** An admitted device. A service can add its own data. */
export interface DeviceOwner {
  readonly principal: Principal;
}

/** The connection of a device, for its service. */
export interface DeviceConnection {
  readonly deviceId: string;
  readonly session: Session;
  readonly signal: AbortSignal;
  send(term: Term): void;
  inform(info: unknown): boolean;
}

/** The result of a callback: no reply, a reply, a push, or a close with a reason. */
export type CallbackResult =
  'ok' | { readonly reply: Term } | { readonly push: Term } | { readonly stop: string } | undefined;

/** The callbacks of a connection. They run one at a time. Optional callbacks may be missing. */
export interface Callbacks {
  /** Returns the UUID of the grant for the next token. */
  issueGrant(): string | Promise<string>;
  onConnected?(): void | Promise<void>;
  /** Called after the first frame of the device. */
  onFirstFrame?(): void;
  onMessage?(message: Term): CallbackResult | Promise<CallbackResult>;
  onRawMessage?(bytes: Uint8Array): CallbackResult | Promise<CallbackResult>;
  onInfo?(info: unknown): CallbackResult | Promise<CallbackResult>;
  /** Returns the feeds of the device without an active subscription in the session. */
  feeds?(): readonly SessionFeed[];
  /** Called if retention has deleted unread events. The connection closes after it. */
  onOvertaken?(error: LastseenError): void;
}
