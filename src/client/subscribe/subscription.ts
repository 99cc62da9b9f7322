/**
 * The loop of a subscription: connect, read, reconnect from the last event that the loop has taken. It ends when its
 * caller ends it, or with an error that no retry can mend; it never skips an event silently.
 */
import { type Runtime, sleep } from '../../runtime.ts';
import { ClientError } from '../errors.ts';
import { createTokens, type TokenSource } from '../tokens/token-source.ts';
import { findVersion } from './common-version.ts';
import type { CursorStore } from './cursor-store.ts';
import type { ClientEvent } from './event.ts';
import { loadFeedCursors } from './feed-cursors.ts';
import { pollTransport } from './poll-transport.ts';
import { createReconnectPolicy } from './reconnect-policy.ts';
import { socketTransport } from './socket-transport.ts';
import { streamTransport } from './stream-transport.ts';
import {
  ConnectionLost,
  type Fetch,
  isVerdict,
  type SocketConstructor,
  type Transport,
  type TransportName,
  type TransportOptions,
} from './transport.ts';

export type SubscriptionState =
  | { readonly name: 'connecting'; readonly transport: TransportName }
  | { readonly name: 'catching-up'; readonly transport: TransportName }
  | { readonly name: 'live'; readonly transport: TransportName }
  /** The connection is lost, for `reason`. The subscription reconnects after `pauseMs` milliseconds. */
  | { readonly name: 'waiting'; readonly reason: string; readonly pauseMs: number }
  | { readonly name: 'closed' };

/** `throw`, `floor`, or the cursor to continue from. */
export type VerdictAnswer = 'throw' | 'floor' | (string & Record<never, never>);

export interface SubscribeOptions {
  /** Base URL of the server. */
  readonly url: string;
  /** One access_id, or at most 100. */
  readonly accessId: string | readonly string[];
  /** Where to start if the store has no cursor: a cursor, "start" or "now". Default "now". */
  readonly after?: string;
  /**
   * A token, a function that returns one, or a token cache. The subscription asks it for each connection, and again
   * before the token of an open socket expires.
   */
  readonly token?: TokenSource;
  /** Ends the loop, without an error. */
  readonly signal?: AbortSignal;
  /** Keeps the cursor of each feed across restarts. Default: nothing is kept. */
  readonly store?: CursorStore;
  /** Called at each change of state. */
  readonly onState?: (state: SubscriptionState) => void;
  /**
   * Decides about a cursor that the server refuses: `throw` (the default) throws the error, `floor` continues from
   * `error.floor`, and a cursor such as `error.common` continues from there. The versions `error.unproven` must count as
   * not having happened: undo their effects before you answer.
   */
  readonly onVerdict?: (verdict: ClientError) => VerdictAnswer | Promise<VerdictAnswer>;
  /**
   * Milliseconds of silence after which a connection counts as lost. Default 60,000: the server sends a heartbeat at
   * least every 25 s.
   */
  readonly silenceMs?: number;
  /** Transports in the order in which they are tried. Default: websocket, stream, poll. */
  readonly transports?: readonly TransportName[];
  /** Default: the global `WebSocket`. */
  readonly WebSocket?: SocketConstructor;
  /** Default: the global `fetch`. */
  readonly fetch?: Fetch;
}

const TRANSPORTS: Readonly<Record<TransportName, Transport>> = {
  websocket: socketTransport,
  stream: streamTransport,
  poll: pollTransport,
};

const SILENCE_MS = 60_000;

/** The server accepts this many subscriptions on one connection. */
const MAX_ACCESS_IDS = 100;

/** Events on a given runtime: `subscribe` of `entry.ts` says what callers get. */
export function subscribeWith(options: SubscribeOptions, runtime: Runtime): AsyncIterable<ClientEvent> {
  return { [Symbol.asyncIterator]: () => iterate(options, runtime) };
}

async function* iterate(
  options: SubscribeOptions,
  { clock, timers, random }: Runtime,
): AsyncGenerator<ClientEvent, void, void> {
  const { store, after = 'now', onState = () => undefined } = options;
  const accessIds = typeof options.accessId === 'string' ? [options.accessId] : options.accessId;
  const global = globalThis as { WebSocket?: SocketConstructor };
  const WebSocket = options.WebSocket ?? global.WebSocket;
  const transports = (options.transports ?? ['websocket', 'stream', 'poll']).filter(
    (name) => name !== 'websocket' || WebSocket !== undefined,
  );
  assertReadable(accessIds, transports);
  const cursors = await loadFeedCursors({ accessIds, store, after });
  const signal = options.signal ?? new AbortController().signal;
  const tokens = createTokens(options.token, timers);
  const policy = createReconnectPolicy(transports, random);
  const connectionOptions: Omit<TransportOptions, 'starts'> = {
    url: options.url.replace(/\/+$/, ''),
    token: tokens.get,
    signal,
    silenceMs: options.silenceMs ?? SILENCE_MS,
    // The `fetch` of a browser throws when it is called as a method of another object.
    fetch: options.fetch ?? ((url, init) => fetch(url, init)),
    WebSocket,
    timers,
  };
  const isAborted = (): boolean => signal.aborted;
  let hasRetriedToken = false;

  try {
    while (!isAborted()) {
      const { transport } = policy;
      const startedAt = clock.steady();
      onState({ name: 'connecting', transport });
      const frames = TRANSPORTS[transport]({ ...connectionOptions, starts: cursors.starts() });
      const catchingUp = new Set(accessIds);
      try {
        for await (const frame of frames) {
          hasRetriedToken = false;
          switch (frame.type) {
            case 'start':
              if (catchingUp.size === accessIds.length) {
                onState({ name: 'catching-up', transport });
              }
              cursors.resolveStart(frame.accessId, frame.cursor);
              break;
            case 'live':
              catchingUp.delete(frame.accessId);
              if (catchingUp.size === 0) {
                onState({ name: 'live', transport });
              }
              break;
            case 'events':
              for (const event of frame.events) {
                cursors.assertContiguous(event);
                yield event;
                // The loop asks for the next event, so it has taken this one.
                await cursors.take(event);
              }
              break;
          }
        }
      } catch (error) {
        if (isAborted()) {
          return;
        }
        const loss = await toRetryableLoss(error);
        const pauseMs = policy.pauseAfter(loss, clock.steady() - startedAt);
        onState({ name: 'waiting', reason: loss.message, pauseMs });
        await sleep(timers, pauseMs, signal);
      }
    }
  } finally {
    onState({ name: 'closed' });
  }

  /** Returns the loss if reconnecting may mend it. @throws every other error */
  async function toRetryableLoss(error: unknown): Promise<ConnectionLost> {
    if (error instanceof ConnectionLost) {
      return error;
    }
    if (!(error instanceof ClientError)) {
      throw error;
    }
    if (error.code === 'ERR_TOKEN_UNAVAILABLE') {
      return new ConnectionLost(error.message, { wasOpen: true });
    }
    // The token may have expired a moment ago: one new token is worth a try.
    if (error.status === 401 && !hasRetriedToken && tokens.refused()) {
      hasRetriedToken = true;
      return new ConnectionLost(error.message, { wasOpen: true });
    }
    if (!isVerdict(error)) {
      throw error;
    }
    const accessId = error.accessId ?? (accessIds.length === 1 ? accessIds[0] : undefined);
    const common =
      accessId === undefined || error.common === undefined
        ? undefined
        : await versionAt(accessId, error.common);
    const verdict =
      error.code === 'ERR_CURSOR_DIVERGED' && accessId !== undefined
        ? new ClientError(error.code, error.message, {
            ...error,
            accessId,
            unproven: cursors.unprovenAfter(accessId, common),
          })
        : error;
    const answer = (await options.onVerdict?.(verdict)) ?? 'throw';
    const start = answer === 'floor' ? verdict.floor : answer;
    if (start === undefined || start === 'throw') {
      throw verdict;
    }
    const version = start === verdict.common ? common : cursors.versionAt(accessId ?? '', start);
    await cursors.restartAt(start, { accessId, version });
    return new ConnectionLost(`continuing from ${answer === 'floor' ? 'the floor' : start}`, {
      wasOpen: true,
    });
  }

  /** The version before a cursor that the log holds; `undefined` if it is not known. */
  async function versionAt(accessId: string, cursor: string): Promise<number | undefined> {
    const starts = cursors.starts();
    const trail = starts.get(accessId)?.trail ?? [];
    return (
      cursors.versionAt(accessId, cursor) ??
      (await findVersion({ ...connectionOptions, starts }, { accessId, cursor, trail }))
    );
  }
}

function assertReadable(accessIds: readonly string[], transports: readonly TransportName[]): void {
  if (transports.length === 0) {
    throw new ClientError('ERR_REFUSED', 'no transport is available: pass a WebSocket or other transports');
  }
  if (accessIds.length === 0) {
    throw new ClientError('ERR_REFUSED', 'accessId must name at least one access_id');
  }
  if (accessIds.length > MAX_ACCESS_IDS) {
    throw new ClientError(
      'ERR_REFUSED',
      `a subscription reads at most ${MAX_ACCESS_IDS} access_ids, got ${accessIds.length}: use several subscriptions`,
    );
  }
}
