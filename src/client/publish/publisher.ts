/**
 * Pushes events in batches. One request runs at a time, so the order of the calls is the order in the log. Every event
 * has an id before the first request, so the server appends an event once, however often the publisher sends it. A
 * request with an unknown outcome is repeated until the server says what became of the events (G5, G14).
 */
import { backoffMs, NETWORK_BACKOFF } from '../../backoff.ts';
import { type Cancel, type Runtime, sleep } from '../../runtime.ts';
import { ClientError } from '../errors.ts';
import { createTokens, type TokenSource } from '../tokens/token-source.ts';
import { encodeEvent, type NewEvent } from './new-event.ts';
import { createPushRequest, type PushAnswer, type Receipt } from './push-request.ts';

/** The outcome of one event: appended (or found as a duplicate), not appended, or not known. */
export type PushResult =
  | {
      readonly ok: true;
      readonly id: string;
      readonly version: number;
      readonly cursor: string;
      /** The log already had an event with this id. */
      readonly duplicate: boolean;
    }
  | {
      readonly ok: false;
      readonly id: string;
      /**
       * `not-appended`: the log does not have the event and will not get it from this push. `not-known`: a request may
       * have appended it. Push the event again with this `id` to find out.
       */
      readonly outcome: 'not-appended' | 'not-known';
      readonly error: ClientError;
    };

export interface PublisherOptions {
  /** Base URL of the server. */
  readonly url: string;
  /** A token, a function that returns one, or a token cache. The publisher asks it again after a 401. */
  readonly token?: TokenSource;
  /** The publisher sends a batch when it has this many events. Default 500, at most 10,000. */
  readonly maxBatchEvents?: number;
  /** The publisher sends a batch before it has more characters of JSON than this. Default 1,048,576. */
  readonly maxBatchCharacters?: number;
  /** The publisher sends a batch this many milliseconds after its first event. Default 20. */
  readonly maxDelayMs?: number;
  /** `push` rejects when more events than this would wait. Default 50,000. */
  readonly maxBufferedEvents?: number;
  /** Milliseconds after which the publisher repeats a request without an answer. Default 30,000. */
  readonly requestTimeoutMs?: number;
  /** Milliseconds after which an event fails that the server has not accepted. Default: never. */
  readonly giveUpAfterMs?: number;
  /** Default: the global `fetch`. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

export interface Publisher {
  /**
   * Resolves when each event is on disk or has failed for good. The results are in the order of the events.
   * @throws ERR_BUFFER_FULL, ERR_CLOSED: the publisher sends none of the events
   */
  push(events: NewEvent | readonly NewEvent[]): Promise<PushResult[]>;
  /** Events that wait or are in a request. Push more slowly when it grows. */
  readonly bufferedEvents: number;
  /** Sends waiting events without delay. Resolves when every pushed event has its result. */
  flush(): Promise<void>;
  /** Flushes. Later pushes reject. */
  close(): Promise<void>;
}

interface PendingEvent {
  readonly id: string;
  readonly text: string;
  /** Steady milliseconds at which it was pushed. */
  readonly pushedAt: number;
  /** A request with the event has ended, and nobody knows whether the server has appended it. */
  mayBeAppended: boolean;
  readonly settle: (result: PushResult) => void;
}

type Refusal = Exclude<PushAnswer, { readonly outcome: 'appended' }>;

/** Statuses after which the same request may succeed. */
const TEMPORARY_STATUSES = new Set([408, 429, 500, 502, 503, 504]);

/** Statuses that may be the fault of a single event of the batch. */
const EVENT_STATUSES = new Set([400, 403, 409, 413]);

/** Statuses by which the server judges the event itself. It would have refused the event at each earlier request too. */
const JUDGING_STATUSES = new Set([400, 409, 413]);

/** A publisher on a given runtime: `createPublisher` of `entry.ts` says what callers get. */
export function createPublisherWith(
  options: PublisherOptions,
  { clock, timers, random }: Runtime,
): Publisher {
  const maxBatchEvents = Math.min(options.maxBatchEvents ?? 500, 10_000);
  const maxBatchCharacters = options.maxBatchCharacters ?? 1024 * 1024;
  const maxDelayMs = options.maxDelayMs ?? 20;
  const maxBufferedEvents = options.maxBufferedEvents ?? 50_000;
  const giveUpAfterMs = options.giveUpAfterMs ?? Number.POSITIVE_INFINITY;
  const tokens = createTokens(options.token, timers);
  const request = createPushRequest({
    url: options.url,
    tokens,
    fetch: options.fetch,
    timers,
    timeoutMs: options.requestTimeoutMs ?? 30_000,
  });
  const closing = new AbortController();
  const flushes = new Set<() => void>();
  let queue: PendingEvent[] = [];
  let bufferedEvents = 0;
  let isClosed = false;
  let isSending = false;
  let cancelDelay: Cancel | undefined;

  function scheduleSend(): void {
    if (isSending) {
      return;
    }
    if (queue.length >= maxBatchEvents) {
      startSending();
    } else {
      cancelDelay ??= timers.after(maxDelayMs, startSending);
    }
  }

  function startSending(): void {
    stopDelay();
    if (!isSending) {
      void sendAll();
    }
  }

  function stopDelay(): void {
    cancelDelay?.();
    cancelDelay = undefined;
  }

  async function sendAll(): Promise<void> {
    isSending = true;
    while (queue.length > 0) {
      await send(takeBatch());
    }
    isSending = false;
    for (const resolve of flushes) {
      resolve();
    }
    flushes.clear();
  }

  function takeBatch(): PendingEvent[] {
    let characters = 0;
    let count = 0;
    for (const { text } of queue) {
      if (count > 0 && (count >= maxBatchEvents || characters + text.length > maxBatchCharacters)) {
        break;
      }
      characters += text.length;
      count += 1;
    }
    const batch = queue.slice(0, count);
    queue = queue.slice(count);
    return batch;
  }

  /** Repeats the batch until the server has decided about each of its events, or until it is too late. */
  async function send(batch: readonly PendingEvent[]): Promise<void> {
    let hasRetriedToken = false;
    for (let attempt = 1; ; attempt += 1) {
      const answer = await request(batch.map(({ text }) => text));
      if (answer.outcome === 'appended') {
        accept(batch, answer.receipts);
        return;
      }
      if (answer.outcome === 'not-known') {
        for (const event of batch) {
          event.mayBeAppended = true;
        }
      }
      const { status } = answer.error;
      // The token may have expired a moment ago: one new token is worth a try.
      const isTokenRetry = status === 401 && !hasRetriedToken && tokens.refused();
      hasRetriedToken = status === undefined ? hasRetriedToken : status === 401;
      if (status !== undefined && !isTokenRetry && !TEMPORARY_STATUSES.has(status)) {
        await refuse(batch, answer);
        return;
      }
      const pushedAt = batch[0]?.pushedAt ?? 0;
      if (closing.signal.aborted || clock.steady() - pushedAt > giveUpAfterMs) {
        fail(
          batch,
          new ClientError('ERR_UNREACHABLE', 'the server did not accept the events in time', {
            cause: answer.error,
          }),
        );
        return;
      }
      const pauseMs = backoffMs(attempt, {
        ...NETWORK_BACKOFF,
        random,
        atLeastMs: answer.retryAfterSeconds * 1_000,
      });
      await sleep(timers, pauseMs, closing.signal);
    }
  }

  function accept(batch: readonly PendingEvent[], receipts: readonly Receipt[]): void {
    batch.forEach((event, index) => {
      const receipt = receipts[index];
      if (receipt !== undefined) {
        settle(event, { ok: true, id: event.id, ...receipt });
      }
    });
  }

  /** The server refuses a batch for one bad event: the halves are sent separately until only bad events fail. */
  async function refuse(batch: readonly PendingEvent[], { outcome, error }: Refusal): Promise<void> {
    const status = error.status ?? 0;
    if (batch.length > 1 && EVENT_STATUSES.has(status)) {
      const middle = batch.length >>> 1;
      await send(batch.slice(0, middle));
      await send(batch.slice(middle));
      return;
    }
    if (outcome === 'not-appended' && JUDGING_STATUSES.has(status)) {
      for (const event of batch) {
        event.mayBeAppended = false;
      }
    }
    fail(batch, error);
  }

  function fail(batch: readonly PendingEvent[], error: ClientError): void {
    for (const event of batch) {
      const outcome = event.mayBeAppended ? 'not-known' : 'not-appended';
      settle(event, { ok: false, id: event.id, outcome, error });
    }
  }

  function settle(event: PendingEvent, result: PushResult): void {
    bufferedEvents -= 1;
    event.settle(result);
  }

  function flush(): Promise<void> {
    if (bufferedEvents === 0) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      flushes.add(resolve);
      startSending();
    });
  }

  return {
    get bufferedEvents() {
      return bufferedEvents;
    },
    push(given) {
      const events: readonly NewEvent[] = Array.isArray(given) ? (given as NewEvent[]) : [given as NewEvent];
      if (isClosed) {
        return Promise.reject(new ClientError('ERR_CLOSED', 'the publisher is closed'));
      }
      if (bufferedEvents + events.length > maxBufferedEvents) {
        const message = `${bufferedEvents} events are waiting, at most ${maxBufferedEvents} may: push again when fewer wait`;
        return Promise.reject(new ClientError('ERR_BUFFER_FULL', message));
      }
      const encoded = events.map((event) => encodeEvent(event, random));
      bufferedEvents += events.length;
      return Promise.all(
        encoded.map(
          ({ id, text }) =>
            new Promise<PushResult>((resolve) => {
              queue.push({ id, text, pushedAt: clock.steady(), mayBeAppended: false, settle: resolve });
              scheduleSend();
            }),
        ),
      );
    },
    flush,
    async close() {
      isClosed = true;
      await flush();
      stopDelay();
      closing.abort();
    },
  };
}
