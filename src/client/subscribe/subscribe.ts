/**
 * Events of one or several access_ids as an async iterable that never ends by itself: it comes back after every loss and
 * goes on after the last event that the loop has taken. What cannot be honoured is thrown, never skipped.
 */
import { backoffMs, NETWORK_BACKOFF } from '../../backoff.ts';
import { sleep } from '../../runtime.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { ClientError } from '../errors.ts';
import { createTokens, type TokenSource } from '../tokens/token-source.ts';
import type { CursorStore } from './cursor-store.ts';
import type { ClientEvent } from './event.ts';
import { pollTransport, streamTransport } from './http-transport.ts';
import { socketTransport } from './socket-transport.ts';
import {
  ConnectionLost,
  type Fetch,
  type SocketConstructor,
  type Transport,
  type TransportOptions,
} from './transport.ts';

export type TransportName = 'websocket' | 'stream' | 'poll';

export type SubscriptionState =
  | { readonly name: 'connecting'; readonly transport: TransportName }
  | { readonly name: 'catching-up'; readonly transport: TransportName }
  | { readonly name: 'live'; readonly transport: TransportName }
  /** Comes back by itself after so long. */
  | { readonly name: 'waiting'; readonly reason: string; readonly pauseMs: number }
  | { readonly name: 'closed' };

export interface SubscribeOptions {
  /** Base URL of the server. */
  readonly url: string;
  /** At most 100. */
  readonly accessId: string | readonly string[];
  /** A cursor, "start" or "now" (default), unless the store knows better. */
  readonly after?: string;
  /** The token, how to get it, or a token cache: asked for each connection, and before a token ends on an open socket. */
  readonly token?: TokenSource;
  readonly signal?: AbortSignal;
  readonly store?: CursorStore;
  readonly onState?: (state: SubscriptionState) => void;
  /** What to do about a cursor that cannot be honoured: throw (default), or go on from the floor, knowing what is lost. */
  readonly onVerdict?: (verdict: ClientError) => 'throw' | 'floor';
  /** Silence after which a connection counts as dead, in milliseconds. Default 60,000: two heartbeats of the server. */
  readonly silenceMs?: number;
  /** In the order they are tried. Default all. */
  readonly transports?: readonly TransportName[];
  /** Default the global one; Node 20 has none: give that of the package `ws`. */
  readonly WebSocket?: SocketConstructor;
  readonly fetch?: Fetch;
}

const TRANSPORTS: Readonly<Record<TransportName, Transport>> = {
  websocket: socketTransport,
  stream: streamTransport,
  poll: pollTransport,
};

/** A connection that held for so long was stable: the next pause is short again. */
const STABLE_MS = 10_000;

const SILENCE_MS = 60_000;

/** Subscriptions that the server takes on one connection. */
const MAX_ACCESS_IDS = 100;

/** Failures to open after which the next transport is tried. */
const MAX_FAILURES = 2;

/**
 * @throws (while iterating) ERR_CURSOR_… with `floor`, ERR_REFUSED, ERR_DROPPED, ERR_GAP; what `store` throws. Never
 *   ERR_TOKEN_UNAVAILABLE: a token that cannot be had now is waited for.
 */
export function subscribe(options: SubscribeOptions): AsyncIterable<ClientEvent> {
  return { [Symbol.asyncIterator]: () => iterate(options) };
}

async function* iterate(options: SubscribeOptions): AsyncGenerator<ClientEvent, void, void> {
  const { store, onState = () => undefined } = options;
  const accessIds = typeof options.accessId === 'string' ? [options.accessId] : options.accessId;
  const global = globalThis as { WebSocket?: SocketConstructor };
  const WebSocket = options.WebSocket ?? global.WebSocket;
  const names = (options.transports ?? ['websocket', 'stream', 'poll']).filter(
    (name) => name !== 'websocket' || WebSocket !== undefined,
  );
  if (names.length === 0 || accessIds.length === 0) {
    throw new ClientError('ERR_REFUSED', 'there is no transport to use, or no access_id to read');
  }
  if (accessIds.length > MAX_ACCESS_IDS) {
    throw new ClientError(
      'ERR_REFUSED',
      `a subscription reads at most ${MAX_ACCESS_IDS} access_ids, got ${accessIds.length}: make several`,
    );
  }
  const cursors = new Map<string, string>();
  const versions = new Map<string, number>();
  for (const accessId of accessIds) {
    cursors.set(accessId, (await store?.load(accessId)) ?? options.after ?? 'now');
  }
  const signal = options.signal ?? new AbortController().signal;
  const tokens = createTokens(options.token);
  const isAborted = (): boolean => signal.aborted;
  let transport = 0;
  let attempt = 0;
  let failures = 0;
  let unauthenticated = 0;

  try {
    while (!isAborted()) {
      const name = names[transport % names.length] ?? 'poll';
      const startedAt = Date.now();
      onState({ name: 'connecting', transport: name });
      const connection = TRANSPORTS[name]({ ...transportOptions(), starts: new Map(cursors) });
      const catchingUp = new Set(accessIds);
      try {
        for await (const frame of connection) {
          unauthenticated = 0;
          if (frame.type === 'start') {
            if (catchingUp.size === accessIds.length) {
              onState({ name: 'catching-up', transport: name });
            }
            // The place of a start that was named by a word; a cursor stays what the loop has taken.
            if (isNamedStart(cursors.get(frame.accessId))) {
              cursors.set(frame.accessId, frame.cursor);
            }
          } else if (frame.type === 'live') {
            catchingUp.delete(frame.accessId);
            if (catchingUp.size === 0) {
              onState({ name: 'live', transport: name });
            }
          } else {
            for (const event of frame.events) {
              assertContiguous(event);
              yield event;
              // Asked for the next one: this one is taken.
              cursors.set(event.accessId, event.cursor);
              versions.set(event.accessId, event.version);
              await store?.save(event.accessId, event.cursor);
            }
          }
        }
      } catch (error) {
        if (isAborted()) {
          return;
        }
        const lost = await toRetryableLoss(error);
        if (Date.now() - startedAt > STABLE_MS && lost.wasOpen) {
          attempt = 0;
        }
        attempt += 1;
        failures = lost.wasOpen ? 0 : failures + 1;
        if (failures >= MAX_FAILURES) {
          failures = 0;
          transport += 1;
        }
        const ms = backoffMs(attempt, {
          ...NETWORK_BACKOFF,
          random: systemRuntime.random,
          atLeastMs: lost.retryAfterSeconds * 1_000,
        });
        onState({ name: 'waiting', reason: lost.message, pauseMs: ms });
        await sleep(systemRuntime.timers, ms, signal);
      }
    }
  } finally {
    onState({ name: 'closed' });
  }

  function transportOptions(): Omit<TransportOptions, 'starts'> {
    return {
      url: options.url.replace(/\/+$/, ''),
      token: tokens.get,
      signal,
      silenceMs: options.silenceMs ?? SILENCE_MS,
      // A browser's own refuses to be called as a method of something else.
      fetch: options.fetch ?? ((url, init) => fetch(url, init)),
      WebSocket,
    };
  }

  function assertContiguous(event: ClientEvent): void {
    const before = versions.get(event.accessId);
    const isAskedFor = cursors.has(event.accessId);
    if (isAskedFor && (before === undefined || event.version === before + 1)) {
      return;
    }
    throw new ClientError(
      'ERR_GAP',
      isAskedFor
        ? `version ${event.version} of ${JSON.stringify(event.accessId)} came after ${before}`
        : `an event of ${JSON.stringify(event.accessId)} came, which nobody asked for`,
      { accessId: event.accessId },
    );
  }

  /** What a retry may mend; what it may not is thrown. */
  async function toRetryableLoss(error: unknown): Promise<ConnectionLost> {
    if (error instanceof ConnectionLost) {
      return error;
    }
    if (!(error instanceof ClientError)) {
      throw error;
    }
    if (error.code === 'ERR_TOKEN_UNAVAILABLE') {
      return new ConnectionLost(error.message, true);
    }
    // A token that has just ended: another one is asked for, once.
    if (error.status === 401 && unauthenticated === 0 && tokens.refused()) {
      unauthenticated += 1;
      return new ConnectionLost(error.message, true);
    }
    if (
      error.code.startsWith('ERR_CURSOR_') &&
      error.floor !== undefined &&
      options.onVerdict?.(error) === 'floor'
    ) {
      for (const accessId of error.accessId === undefined ? accessIds : [error.accessId]) {
        cursors.set(accessId, error.floor);
        versions.delete(accessId);
        await store?.save(accessId, error.floor);
      }
      return new ConnectionLost('reading again from the floor', true);
    }
    throw error;
  }
}

function isNamedStart(after: string | undefined): boolean {
  return after === 'start' || after === 'now';
}
