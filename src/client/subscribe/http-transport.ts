/** A subscription over plain HTTP, where WebSockets are blocked: an event stream a feed, or long polls. */
import { ClientError } from '../errors.ts';
import { type ClientEvent, parseEvent, parseEvents } from './event.ts';
import { createTimeoutSignal } from './timeout-signal.ts';
import {
  ConnectionLost,
  type Frame,
  parseRefusal,
  type Transport,
  type TransportOptions,
  unreadableAnswer,
} from './transport.ts';

/** Seconds that a long poll waits. */
const WAIT_SECONDS = 25;

type Reader = (
  options: TransportOptions,
  accessId: string,
  after: string,
) => AsyncGenerator<Frame, void, void>;

export const streamTransport: Transport = (options) => mergeFeeds(options, readStream);
export const pollTransport: Transport = (options) => mergeFeeds(options, pollFeed);

/** One reader a feed; the slowest taker holds all of them back. */
async function* mergeFeeds(options: TransportOptions, read: Reader): AsyncGenerator<Frame, void, void> {
  const watch = createTimeoutSignal(options.signal);
  const readers = [...options.starts].map(([accessId, after]) =>
    read({ ...options, signal: watch.signal }, accessId, after),
  );
  const waiting = new Map(readers.map((reader) => [reader, readNext(reader)]));
  try {
    while (waiting.size > 0) {
      const { reader, result } = await Promise.race(waiting.values());
      if (result.done === true) {
        waiting.delete(reader);
        continue;
      }
      yield result.value;
      waiting.set(reader, readNext(reader));
    }
  } finally {
    watch.abort();
    for (const pending of waiting.values()) {
      pending.catch(() => undefined);
    }
  }
}

async function readNext(
  reader: AsyncGenerator<Frame, void, void>,
): Promise<{ reader: AsyncGenerator<Frame, void, void>; result: IteratorResult<Frame, void> }> {
  return { reader, result: await reader.next() };
}

async function* readStream(
  options: TransportOptions,
  accessId: string,
  after: string,
): AsyncGenerator<Frame, void, void> {
  // A stream names no place before its first event: "now" is made one first.
  let cursor = after;
  if (cursor === 'now') {
    cursor = (await fetchPage(options, accessId, cursor, 0)).cursor;
    yield { type: 'start', accessId, cursor };
  }
  const watch = createTimeoutSignal(options.signal, options.silenceMs);
  try {
    const response = await request(options, accessId, cursor, '', 'text/event-stream', watch.signal);
    watch.pause();
    if (response.body === null) {
      throw new ConnectionLost('this fetch cannot stream', false);
    }
    yield { type: 'live', accessId };
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      watch.restart();
      const read = await reader.read().catch(() => undefined);
      watch.pause();
      if (read?.value === undefined) {
        throw new ConnectionLost('the stream ended', true);
      }
      text += read.value;
      const records = text.split('\n\n');
      text = records.pop() ?? '';
      const events = records.flatMap(parseRecord);
      if (events.length > 0) {
        yield { type: 'events', events };
      }
    }
  } finally {
    watch.abort();
  }
}

/** The event of a record of the stream; a comment has none. */
function parseRecord(record: string): ClientEvent[] {
  const data = record.split('\n').find((line) => line.startsWith('data: '));
  if (data === undefined) {
    return [];
  }
  try {
    return [parseEvent(data.slice('data: '.length))];
  } catch {
    throw unreadableAnswer();
  }
}

async function* pollFeed(
  options: TransportOptions,
  accessId: string,
  after: string,
): AsyncGenerator<Frame, void, void> {
  let cursor = after;
  let isLive = false;
  for (;;) {
    const page = await fetchPage(options, accessId, cursor, cursor === 'now' ? 0 : WAIT_SECONDS);
    if (page.events.length > 0) {
      yield { type: 'events', events: page.events };
    } else if (cursor === 'now' || cursor === 'start') {
      yield { type: 'start', accessId, cursor: page.cursor };
    }
    cursor = page.cursor;
    if (page.isCaughtUp && !isLive) {
      isLive = true;
      yield { type: 'live', accessId };
    }
  }
}

interface Page {
  readonly events: readonly ClientEvent[];
  readonly cursor: string;
  readonly isCaughtUp: boolean;
}

/** @throws ConnectionLost for what may pass, ClientError for what does not */
export async function fetchPage(
  options: TransportOptions,
  accessId: string,
  after: string,
  waitSeconds: number,
  limit = 500,
): Promise<Page> {
  const more = `&limit=${limit}&wait=${waitSeconds}`;
  const watch = createTimeoutSignal(options.signal, waitSeconds * 1_000 + options.silenceMs);
  try {
    const response = await request(options, accessId, after, more, 'application/json', watch.signal);
    const text = await response.text().catch(() => {
      throw new ConnectionLost('the answer was cut off', true);
    });
    return parsePage(text);
  } finally {
    watch.dispose();
  }
}

function parsePage(text: string): Page {
  try {
    const { cursor, caught_up: isCaughtUp } = JSON.parse(text) as { cursor: unknown; caught_up: unknown };
    if (typeof cursor === 'string' && typeof isCaughtUp === 'boolean') {
      return { events: parseEvents(text), cursor, isCaughtUp };
    }
  } catch {
    // Told below.
  }
  throw unreadableAnswer();
}

/** @throws ConnectionLost for what may pass, ClientError for what does not */
async function request(
  options: TransportOptions,
  accessId: string,
  after: string,
  more: string,
  accept: string,
  signal: AbortSignal,
): Promise<Response> {
  const token = await options.token();
  const query = `access_id=${encodeURIComponent(accessId)}&after=${encodeURIComponent(after)}${more}`;
  let response: Response;
  try {
    response = await options.fetch(`${options.url}/events?${query}`, {
      headers: { Accept: accept, ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) },
      signal,
    });
  } catch (error) {
    throw error instanceof ClientError ? error : new ConnectionLost('the server could not be reached', false);
  }
  if (response.ok && response.headers.get('Content-Type')?.startsWith(accept) === true) {
    return response;
  }
  if (response.ok) {
    throw unreadableAnswer();
  }
  const text = await response.text().catch(() => '');
  const retryAfter = Number(response.headers.get('Retry-After') ?? 0) || 0;
  const isTemporary = response.status === 408 || response.status === 429 || response.status >= 500;
  if (isTemporary) {
    throw new ConnectionLost(`the server answered ${response.status}`, false, retryAfter);
  }
  const refusal = parseRefusal(text, `the server answered ${response.status}`, response.status);
  throw refusal.accessId === undefined
    ? new ClientError(refusal.code, refusal.message, {
        status: response.status,
        accessId,
        ...(refusal.floor === undefined ? {} : { floor: refusal.floor }),
        ...(refusal.serverCode === undefined ? {} : { serverCode: refusal.serverCode }),
      })
    : refusal;
}
