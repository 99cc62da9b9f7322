/** What carries a subscription: a socket, an event stream or a long poll, alike to the one who reads. */
import { ClientError, type ClientErrorCode } from '../errors.ts';
import type { ClientEvent } from './event.ts';

export type Frame =
  /** Where a feed begins: what comes after this place will be given. */
  | { readonly type: 'start'; readonly accessId: string; readonly cursor: string }
  | { readonly type: 'events'; readonly events: readonly ClientEvent[] }
  /** The feed has caught up. */
  | { readonly type: 'live'; readonly accessId: string };

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface TransportOptions {
  readonly url: string;
  /** A cursor, "start" or "now" for each access_id. */
  readonly starts: ReadonlyMap<string, string>;
  readonly token: () => Promise<string | undefined>;
  readonly signal: AbortSignal;
  /** Silence after which a connection counts as dead, in milliseconds. */
  readonly silenceMs: number;
  readonly fetch: Fetch;
  readonly WebSocket: SocketConstructor | undefined;
}

/** Gives frames until the connection is lost. @throws ConnectionLost, or ClientError for what a retry cannot mend */
export type Transport = (options: TransportOptions) => AsyncGenerator<Frame, void, void>;

/** The part of a WebSocket that is used: a browser's, Node's, or that of the package `ws`. */
export interface Socket {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number): void;
  // Events of three worlds: each has a class of its own for them.
  /* eslint-disable @typescript-eslint/no-explicit-any */
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  /* eslint-enable @typescript-eslint/no-explicit-any */
  pause?(): void;
  resume?(): void;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- constructors of three worlds
export type SocketConstructor = new (url: string, protocols: string[], ...more: any[]) => Socket;

/** The connection is gone, and another may be had. */
export class ConnectionLost extends Error {
  /** True when it had been of use. */
  readonly wasOpen: boolean;
  readonly retryAfterSeconds: number;

  constructor(reason: string, wasOpen: boolean, retryAfterSeconds = 0) {
    super(reason);
    this.wasOpen = wasOpen;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** What came is no answer of a server: something in between has spoken. */
export function unreadableAnswer(): ConnectionLost {
  return new ConnectionLost('what came is not understood', false);
}

const VERDICTS: readonly string[] = [
  'ERR_CURSOR_MALFORMED',
  'ERR_CURSOR_TOO_OLD',
  'ERR_CURSOR_AHEAD',
  'ERR_CURSOR_EPOCH',
];

/** The server's own words as an error; a verdict on a cursor keeps its code and floor. */
export function parseRefusal(text: string, fallback: string, status?: number): ClientError {
  let problem: { code?: unknown; detail?: unknown; floor?: unknown; access_id?: unknown } = {};
  try {
    problem = JSON.parse(text) as typeof problem;
  } catch {
    // Something in between has answered.
  }
  const detail = typeof problem.detail === 'string' ? problem.detail : fallback;
  const serverCode = typeof problem.code === 'string' ? problem.code : undefined;
  const isVerdict = serverCode !== undefined && VERDICTS.includes(serverCode);
  return new ClientError(isVerdict ? (serverCode as ClientErrorCode) : 'ERR_REFUSED', detail, {
    ...(status === undefined ? {} : { status }),
    ...(serverCode === undefined ? {} : { serverCode }),
    ...(typeof problem.floor === 'string' ? { floor: problem.floor } : {}),
    ...(typeof problem.access_id === 'string' ? { accessId: problem.access_id } : {}),
  });
}
