/** What carries a subscription: a WebSocket, event streams or long polls, all with one interface. */
import type { Timers } from '../../runtime.ts';
import { ClientError, type ClientErrorCode } from '../errors.ts';
import type { ClientEvent } from './event.ts';

export type TransportName = 'websocket' | 'stream' | 'poll';

export type Frame =
  /** The feed starts at this cursor: the events after it follow. */
  | { readonly type: 'start'; readonly accessId: string; readonly cursor: string }
  | { readonly type: 'events'; readonly events: readonly ClientEvent[] }
  /** The feed has caught up with the log. */
  | { readonly type: 'live'; readonly accessId: string };

/** The part of the `fetch` function that the SDK uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Where a connection starts in a feed. */
export interface FeedStart {
  /** A cursor, "start" or "now". */
  readonly after: string;
  /** Older cursors, newest first. If the server refuses `after`, it names the newest of them that is valid. */
  readonly trail: readonly string[];
}

export interface TransportOptions {
  /** Base URL of the server, without a slash at its end. */
  readonly url: string;
  readonly starts: ReadonlyMap<string, FeedStart>;
  /** @throws ERR_TOKEN_UNAVAILABLE */
  readonly token: () => Promise<string | undefined>;
  /** Ends the connection. */
  readonly signal: AbortSignal;
  /** Milliseconds of silence after which a connection counts as lost. */
  readonly silenceMs: number;
  readonly fetch: Fetch;
  readonly WebSocket: SocketConstructor | undefined;
  readonly timers: Timers;
}

/**
 * Opens a connection and gives its frames until the connection is lost.
 * @throws ConnectionLost for what a retry may mend, ClientError for everything else
 */
export type Transport = (options: TransportOptions) => AsyncGenerator<Frame, void, void>;

/**
 * The part of a WebSocket that the SDK uses. The WebSockets of browsers, of Node and of the package `ws` have it;
 * `pause` and `resume` only those of `ws`.
 */
export interface Socket {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number): void;
  // The three kinds of WebSocket have different classes for these events.
  /* eslint-disable @typescript-eslint/no-explicit-any */
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  /* eslint-enable @typescript-eslint/no-explicit-any */
  pause?(): void;
  resume?(): void;
}

/** The class `WebSocket` of browsers, of Node or of the package `ws`, whose constructors take different options. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- their third parameter has different types
export type SocketConstructor = new (url: string, protocols: string[], ...more: any[]) => Socket;

export interface ConnectionLostDetails {
  /** True if the connection had opened, or if its transport is not to blame. */
  readonly wasOpen: boolean;
  /** The server asks to wait at least this long. Default 0. */
  readonly retryAfterSeconds?: number;
}

/** The connection is lost, and a retry may open another. */
export class ConnectionLost extends Error {
  readonly wasOpen: boolean;
  readonly retryAfterSeconds: number;

  constructor(reason: string, { wasOpen, retryAfterSeconds = 0 }: ConnectionLostDetails) {
    super(reason);
    this.wasOpen = wasOpen;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The answer is not one of a lastseen server: a proxy or a sign-in page may have sent it. */
export function unreadableAnswer(): ConnectionLost {
  return new ConnectionLost('the answer is not from a lastseen server', { wasOpen: false });
}

const VERDICTS: readonly string[] = [
  'ERR_CURSOR_MALFORMED',
  'ERR_CURSOR_TOO_OLD',
  'ERR_CURSOR_AHEAD',
  'ERR_CURSOR_DIVERGED',
  'ERR_CURSOR_EPOCH',
];

/** What is known of a refusal besides its text. */
export interface RefusalContext {
  /** HTTP status of the answer. */
  readonly status?: number;
  /** The feed, if the text names none. */
  readonly accessId?: string;
}

/**
 * The error of the server as a ClientError. A verdict on a cursor keeps its code and where to begin; every other error
 * becomes ERR_REFUSED with the server's code in `serverCode`. `fallback` is the message if `text` is not an error of the
 * server.
 */
export function parseRefusal(text: string, fallback: string, context: RefusalContext = {}): ClientError {
  let problem: Readonly<Record<string, unknown>> = {};
  try {
    problem = JSON.parse(text) as typeof problem;
  } catch {
    // Not the server's own answer: the fallback says what is known.
  }
  const textOf = (name: string): string | undefined => {
    const value = problem[name];
    return typeof value === 'string' ? value : undefined;
  };
  const serverCode = textOf('code');
  const common = textOf('common');
  return new ClientError(
    VERDICTS.includes(serverCode ?? '') ? (serverCode as ClientErrorCode) : 'ERR_REFUSED',
    textOf('detail') ?? fallback,
    {
      status: context.status,
      serverCode,
      floor: textOf('floor'),
      common,
      commonBy: common === undefined ? undefined : textOf('common_by') === 'term' ? 'term' : 'trail',
      accessId: textOf('access_id') ?? context.accessId,
    },
  );
}

/** Whether an error is a verdict on a cursor. */
export function isVerdict(error: ClientError): boolean {
  return VERDICTS.includes(error.code);
}
