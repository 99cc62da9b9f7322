/** What stands behind a path: the port between the protocol of devices and who serves them (a handler, or the log). */
import type { Session, SessionFeed } from '../../delivery/session.ts';
import type { LastseenError } from '../../errors.ts';
import type { Principal } from '../../identity/principal.ts';
import type { Term } from './etf/term.ts';
import type { DeviceHandler } from './handler.ts';
import type { DeviceTokens } from './tokens.ts';

export interface DeviceRoom<H extends Holder = Holder> {
  readonly path: string;
  readonly gateway: string;
  readonly tokens: DeviceTokens;
  readonly refreshMs: number;
  /** A device is closed when nothing came for so long; a callback takes at most so long. */
  readonly idleMs: number;
  readonly maxMessageBytes: number;
  /** Who logs in so; `undefined` refuses. */
  login(deviceId: string, credentials: ReadonlyMap<string, Term>): Promise<H | undefined>;
  /** Who comes back with a token of this grant; `undefined` when it holds no more. */
  comeBack(deviceId: string, grant: string): Promise<H | undefined>;
  readonly onError?: DeviceHandler['onError'];
  serve(device: Served, holder: H): Callbacks;
}

/** Who was let in. */
export interface Holder {
  readonly principal: Principal;
}

/** A connection as its room sees it. */
export interface Served {
  readonly deviceId: string;
  readonly session: Session;
  readonly signal: AbortSignal;
  send(term: Term): void;
  inform(info: unknown): boolean;
}

export type Answer =
  'ok' | { readonly reply: Term } | { readonly push: Term } | { readonly stop: string } | undefined;

/** What is not there is ignored. One call at a time. */
export interface Callbacks {
  /** The UUID that goes into the next token. */
  nameToken(): string | Promise<string>;
  onConnected?(): void | Promise<void>;
  /** The device's first frame has been dealt with. */
  onHeard?(): void;
  onMessage?(message: Term): Answer | Promise<Answer>;
  onRawMessage?(bytes: Uint8Array): Answer | Promise<Answer>;
  onInfo?(info: unknown): Answer | Promise<Answer>;
  /** The room's feeds that are not subscribed in the session just now. */
  feeds?(): readonly SessionFeed[];
  /** Retention has overtaken the device; the connection is closed after it. */
  onOvertaken?(error: LastseenError): void;
}
