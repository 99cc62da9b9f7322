/** The port between the protocol of devices and what serves them at a path: the log, or an application's handler. */
import type { Session, SessionFeed } from '../../delivery/session.ts';
import type { LastseenError } from '../../errors.ts';
import type { Principal } from '../../identity/principal.ts';
import type { Term } from './etf/term.ts';
import type { DeviceHandler } from './handler.ts';
import type { DeviceTokens } from './tokens.ts';

export interface DeviceService<O extends DeviceOwner = DeviceOwner> {
  readonly path: string;
  readonly gateway: string;
  readonly tokens: DeviceTokens;
  readonly refreshMs: number;
  /** A device is closed when nothing came for so long; a callback takes at most so long. */
  readonly idleMs: number;
  readonly maxMessageBytes: number;
  /** The device that these credentials belong to; `undefined` refuses. */
  login(deviceId: string, credentials: ReadonlyMap<string, Term>): Promise<O | undefined>;
  /** The device that a token of this grant belongs to; `undefined` when the grant is no longer valid. */
  resume(deviceId: string, grant: string): Promise<O | undefined>;
  readonly onError?: DeviceHandler['onError'];
  serve(connection: DeviceConnection, owner: O): Callbacks;
}

/** A device that was let in. A service may keep more beside its principal. */
export interface DeviceOwner {
  readonly principal: Principal;
}

/** A device's connection as its service sees it. */
export interface DeviceConnection {
  readonly deviceId: string;
  readonly session: Session;
  readonly signal: AbortSignal;
  send(term: Term): void;
  inform(info: unknown): boolean;
}

export type CallbackResult =
  'ok' | { readonly reply: Term } | { readonly push: Term } | { readonly stop: string } | undefined;

/** A missing callback is ignored. One call at a time. */
export interface Callbacks {
  /** The UUID of the grant that the next token names. */
  issueGrant(): string | Promise<string>;
  onConnected?(): void | Promise<void>;
  /** The device has sent its first frame. */
  onFirstFrame?(): void;
  onMessage?(message: Term): CallbackResult | Promise<CallbackResult>;
  onRawMessage?(bytes: Uint8Array): CallbackResult | Promise<CallbackResult>;
  onInfo?(info: unknown): CallbackResult | Promise<CallbackResult>;
  /** Feeds of the device that are not subscribed in the session just now. */
  feeds?(): readonly SessionFeed[];
  /** Retention has overtaken the device; the connection is closed after it. */
  onOvertaken?(error: LastseenError): void;
}
