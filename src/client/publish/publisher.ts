/**
 * Pushing events in batches, one request at a time, so that the order of the calls is the order of the log. Every event
 * has an id before it is first sent: whatever is repeated after a lost answer is appended once.
 */
import { backoffMs, NETWORK_BACKOFF } from '../../backoff.ts';
import { sleep } from '../../runtime.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { ClientError } from '../errors.ts';
import { createTimeoutSignal } from '../subscribe/timeout-signal.ts';
import { createTokens, type TokenSource } from '../tokens/token-source.ts';

export interface NewEvent {
  readonly accessId: string;
  /** Integer; milliseconds since 1970 by convention. */
  readonly createdAt: number;
  /** Any JSON value. */
  readonly payload?: unknown;
  /** Instead of `payload`: JSON text that is sent letter for letter. */
  readonly rawPayload?: string;
  /** Unique within its access_id; one is made if none is given. */
  readonly id?: string;
}

/** What became of one event. */
export type PushResult =
  | {
      readonly ok: true;
      readonly id: string;
      readonly version: number;
      readonly cursor: string;
      readonly duplicate: boolean;
    }
  | { readonly ok: false; readonly id: string; readonly error: ClientError };

export interface PublisherOptions {
  /** Base URL of the server. */
  readonly url: string;
  /** The token, how to get it, or a token cache; asked again after a 401. */
  readonly token?: TokenSource;
  /** A batch goes when it has so many events. Default 500, at most 10,000. */
  readonly maxBatchEvents?: number;
  /** … or so many characters. Default 1 Mi. */
  readonly maxBatchCharacters?: number;
  /** … or when its first event has waited so long. Default 20. */
  readonly maxDelayMs?: number;
  /** Events waiting at most; `push` beyond that is refused. Default 50,000. */
  readonly maxBufferedEvents?: number;
  /** A request that is not answered for so long is sent again. Default 30,000. */
  readonly requestTimeoutMs?: number;
  /** Give an event up when the server has not taken it for so long. Default: never. */
  readonly giveUpAfterMs?: number;
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

export interface Publisher {
  /**
   * Resolves when each event is on disk, or refused for good; results stand in the order given.
   * @throws ERR_BUFFER_FULL, ERR_CLOSED: none of them was taken
   */
  push(events: NewEvent | readonly NewEvent[]): Promise<PushResult[]>;
  /** Events that wait, or are on their way. Slow down when it grows. */
  readonly bufferedEvents: number;
  /** Sends what waits at once; resolves when all that was pushed is answered. */
  flush(): Promise<void>;
  /** Flushes, and takes no more. */
  close(): Promise<void>;
}

interface PendingEvent {
  readonly id: string;
  /** As it stands in the body. */
  readonly text: string;
  readonly since: number;
  readonly settle: (result: PushResult) => void;
}

interface Receipt {
  readonly version: number;
  readonly cursor: string;
  readonly duplicate: boolean;
}

interface Answer {
  readonly status: number;
  readonly text: string;
  /** Of a 200: one for each event. */
  readonly receipts: readonly Receipt[];
  readonly retryAfterSeconds: number;
}

const REPRESENTATION = 'return=representation';

/** Statuses after which the same request may succeed. */
const TEMPORARY = new Set([408, 429, 500, 502, 503, 504]);

export function createPublisher(options: PublisherOptions): Publisher {
  const maxEvents = Math.min(options.maxBatchEvents ?? 500, 10_000);
  const maxCharacters = options.maxBatchCharacters ?? 1024 * 1024;
  const maxDelayMs = options.maxDelayMs ?? 20;
  const maxBuffered = options.maxBufferedEvents ?? 50_000;
  const giveUpAfterMs = options.giveUpAfterMs ?? Number.POSITIVE_INFINITY;
  const requestTimeoutMs = options.requestTimeoutMs ?? 30_000;
  const tokens = createTokens(options.token);
  const url = `${options.url.replace(/\/+$/, '')}/push_events`;
  const stopped = new AbortController();
  const idle = new Set<() => void>();
  let queue: PendingEvent[] = [];
  let buffered = 0;
  let isClosed = false;
  let isRunning = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function scheduleSend(): void {
    if (isRunning) {
      return;
    }
    if (queue.length >= maxEvents) {
      startSending();
    } else {
      timer ??= setTimeout(startSending, maxDelayMs);
    }
  }

  function startSending(): void {
    clearTimeout(timer);
    timer = undefined;
    if (!isRunning) {
      void sendAll();
    }
  }

  async function sendAll(): Promise<void> {
    isRunning = true;
    while (queue.length > 0) {
      await send(takeBatch());
    }
    isRunning = false;
    for (const resolve of idle) {
      resolve();
    }
    idle.clear();
  }

  function takeBatch(): PendingEvent[] {
    let characters = 0;
    let count = 0;
    for (const { text } of queue) {
      if (count > 0 && (count >= maxEvents || characters + text.length > maxCharacters)) {
        break;
      }
      characters += text.length;
      count += 1;
    }
    const batch = queue.slice(0, count);
    queue = queue.slice(count);
    return batch;
  }

  /** Sends until the server has said what becomes of each event. */
  async function send(batch: readonly PendingEvent[]): Promise<void> {
    let refusals = 0;
    for (let attempt = 1; ; attempt += 1) {
      const answer = await post(batch);
      if (!(answer instanceof ClientError) && answer.status === 200) {
        accept(batch, answer.receipts);
        return;
      }
      // A token that has just ended: another one is asked for, once.
      const isTokenAgain =
        !(answer instanceof ClientError) &&
        answer.status === 401 &&
        (refusals += 1) === 1 &&
        tokens.refused();
      if (!(answer instanceof ClientError) && !TEMPORARY.has(answer.status) && !isTokenAgain) {
        await refuse(batch, answer);
        return;
      }
      const oldest = batch[0]?.since ?? 0;
      if (stopped.signal.aborted || Date.now() - oldest > giveUpAfterMs) {
        const cause = answer instanceof ClientError ? answer : parseProblem(answer);
        fail(
          batch,
          new ClientError('ERR_UNREACHABLE', 'the server did not take the events in time', { cause }),
        );
        return;
      }
      const pauseMs = backoffMs(attempt, {
        ...NETWORK_BACKOFF,
        random: systemRuntime.random,
        atLeastMs: answer instanceof ClientError ? 0 : answer.retryAfterSeconds * 1_000,
      });
      await sleep(systemRuntime.timers, pauseMs, stopped.signal);
    }
  }

  async function post(batch: readonly PendingEvent[]): Promise<Answer | ClientError> {
    const watch = createTimeoutSignal(new AbortController().signal, requestTimeoutMs);
    try {
      const token = await tokens.get();
      const request = options.fetch ?? fetch;
      const response = await request(url, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          Prefer: REPRESENTATION,
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
        },
        body: `[${batch.map(({ text }) => text).join(',')}]`,
        signal: watch.signal,
      });
      const text = await response.text();
      const receipts = response.status === 200 ? parseReceipts(text, batch.length) : [];
      if (receipts === undefined) {
        return new ClientError('ERR_UNREACHABLE', 'what came is no answer of the server');
      }
      const retryAfterSeconds = Number(response.headers.get('Retry-After') ?? 0) || 0;
      return { status: response.status, text, receipts, retryAfterSeconds };
    } catch (error) {
      return new ClientError('ERR_UNREACHABLE', 'the server could not be reached', { cause: error });
    } finally {
      watch.dispose();
    }
  }

  function accept(batch: readonly PendingEvent[], receipts: readonly Receipt[]): void {
    batch.forEach((waiting, at) => {
      const receipt = receipts[at];
      if (receipt !== undefined) {
        settle(waiting, { ok: true, id: waiting.id, ...receipt });
      }
    });
  }

  /** One bad event refuses its batch: the halves are sent by themselves, until only what is bad is refused. */
  async function refuse(batch: readonly PendingEvent[], answer: Answer): Promise<void> {
    const isEventRefusal =
      answer.status === 400 || answer.status === 403 || answer.status === 409 || answer.status === 413;
    if (batch.length > 1 && isEventRefusal) {
      const middle = batch.length >>> 1;
      await send(batch.slice(0, middle));
      await send(batch.slice(middle));
      return;
    }
    fail(batch, parseProblem(answer));
  }

  function fail(batch: readonly PendingEvent[], error: ClientError): void {
    for (const waiting of batch) {
      settle(waiting, { ok: false, id: waiting.id, error });
    }
  }

  function settle(waiting: PendingEvent, result: PushResult): void {
    buffered -= 1;
    waiting.settle(result);
  }

  function flush(): Promise<void> {
    if (buffered === 0) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      idle.add(resolve);
      startSending();
    });
  }

  return {
    get bufferedEvents() {
      return buffered;
    },
    push(given) {
      const events: readonly NewEvent[] = Array.isArray(given) ? (given as NewEvent[]) : [given as NewEvent];
      if (isClosed) {
        return Promise.reject(new ClientError('ERR_CLOSED', 'the publisher is closed'));
      }
      if (buffered + events.length > maxBuffered) {
        const message = `${buffered} events are waiting: push again when some have been taken`;
        return Promise.reject(new ClientError('ERR_BUFFER_FULL', message));
      }
      const texts = events.map(encodeEvent);
      buffered += events.length;
      return Promise.all(
        texts.map(
          ({ id, text }) =>
            new Promise<PushResult>((resolve) => {
              queue.push({ id, text, since: Date.now(), settle: resolve });
              scheduleSend();
            }),
        ),
      );
    },
    flush,
    async close() {
      isClosed = true;
      await flush();
      clearTimeout(timer);
      stopped.abort();
    },
  };
}

/** @throws TypeError when the payload is no JSON value */
function encodeEvent(event: NewEvent): { readonly id: string; readonly text: string } {
  const id = event.id ?? crypto.randomUUID();
  const isJson = !['undefined', 'function', 'symbol'].includes(typeof event.payload);
  if (event.rawPayload === undefined && !isJson) {
    throw new TypeError('an event needs a payload that is a JSON value, or a rawPayload');
  }
  const payload = event.rawPayload ?? JSON.stringify(event.payload);
  const head = JSON.stringify({ access_id: event.accessId, created_at: event.createdAt, id });
  return { id, text: `${head.slice(0, -1)},"payload":${payload}}` };
}

/** `undefined` when something in between has answered: whether the events are on disk is not known. */
function parseReceipts(text: string, count: number): Receipt[] | undefined {
  try {
    const { events } = JSON.parse(text) as { events: Receipt[] };
    if (events.length !== count) {
      return undefined;
    }
    return events.map(({ version, cursor, duplicate }) => ({ version, cursor, duplicate }));
  } catch {
    return undefined;
  }
}

function parseProblem(answer: Answer): ClientError {
  let detail = `the server answered ${answer.status}`;
  let serverCode: string | undefined;
  try {
    const problem = JSON.parse(answer.text) as { detail?: unknown; code?: unknown };
    if (typeof problem.detail === 'string') {
      detail = problem.detail;
    }
    if (typeof problem.code === 'string') {
      serverCode = problem.code;
    }
  } catch {
    // Something in between has answered: its status says what there is to say.
  }
  return new ClientError('ERR_REFUSED', detail, {
    status: answer.status,
    ...(serverCode === undefined ? {} : { serverCode }),
  });
}
