/** A feed that is followed: the SDK's loop, and what there is to say of it, changed at most every few milliseconds. */
import { type ClientEvent, subscribe, type SubscriptionState } from '../client/index.ts';
import type { Api } from './api.ts';

export interface TailState {
  readonly accessId: string;
  readonly connection: SubscriptionState['name'];
  /** How events come: `websocket`, `stream` or `poll`. */
  readonly transport: string;
  /** Newest first, `MAX_SHOWN` at most. */
  readonly events: readonly ClientEvent[];
  readonly received: number;
  /** Of the last event: where the loop would go on. */
  readonly cursor: string | undefined;
  readonly version: number | undefined;
  /** While the connection is lost: why, and when it is tried again. */
  readonly waiting: { readonly reason: string; readonly pauseMs: number } | undefined;
  /** The last time it came back: after how long, and what it then caught up with. */
  readonly resumed: { readonly afterMs: number; readonly events: number } | undefined;
  /** What ended it for good. */
  readonly error: Error | undefined;
}

export const MAX_SHOWN = 200;

const TELL_EVERY_MS = 50;

/** What a subprotocol's name may be made of; other tokens go in a header, which a browser's socket cannot send. */
const FITS_SUBPROTOCOL = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Returns how to stop. `onChange` is told of each new state. */
export function follow(
  api: Api,
  accessId: string,
  after: string,
  onChange: (state: TailState) => void,
): () => void {
  const stop = new AbortController();
  let state: TailState = {
    accessId,
    connection: 'connecting',
    transport: '',
    events: [],
    received: 0,
    cursor: undefined,
    version: undefined,
    waiting: undefined,
    resumed: undefined,
    error: undefined,
  };
  let lostAt: number | undefined;
  let receivedAtLoss = 0;
  let telling: ReturnType<typeof setTimeout> | undefined;

  function change(part: Partial<TailState>): void {
    state = { ...state, ...part };
    telling ??= setTimeout(() => {
      telling = undefined;
      if (!stop.signal.aborted) {
        onChange(state);
      }
    }, TELL_EVERY_MS);
  }

  function onState(next: SubscriptionState): void {
    if (next.name === 'waiting') {
      lostAt ??= performance.now();
      receivedAtLoss = state.waiting === undefined ? state.received : receivedAtLoss;
      change({ connection: next.name, waiting: { reason: next.reason, pauseMs: next.pauseMs } });
      return;
    }
    if (next.name === 'closed') {
      return;
    }
    const isBack = next.name === 'live' && lostAt !== undefined;
    if (isBack && lostAt !== undefined) {
      const afterMs = performance.now() - lostAt;
      lostAt = undefined;
      change({ resumed: { afterMs, events: state.received - receivedAtLoss } });
    }
    change({
      connection: next.name,
      transport: next.transport,
      ...(next.name === 'live' ? { waiting: undefined } : {}),
    });
  }

  async function run(): Promise<void> {
    const needsHeader = api.token !== undefined && !FITS_SUBPROTOCOL.test(api.token);
    const events = subscribe({
      url: api.url,
      accessId,
      after,
      signal: stop.signal,
      onState,
      ...(api.token === undefined ? {} : { token: api.token }),
      ...(needsHeader ? { transports: ['stream', 'poll'] } : {}),
    });
    for await (const event of events) {
      change({
        events: [event, ...state.events.slice(0, MAX_SHOWN - 1)],
        received: state.received + 1,
        cursor: event.cursor,
        version: event.version,
      });
    }
  }

  run().catch((error: unknown) => {
    change({
      connection: 'closed',
      waiting: undefined,
      error: error instanceof Error ? error : new Error(String(error)),
    });
  });
  onChange(state);
  return () => {
    stop.abort();
    clearTimeout(telling);
  };
}
