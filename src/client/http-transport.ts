/** A subscription over plain HTTP, where WebSockets are blocked: an event stream a feed, or long polls. */
import { ClientError } from './errors.ts';
import { eventOf, eventsOf } from './event.ts';
import { ConnectionLost, refusalOf, type Frame, type Transport, type TransportOptions } from './transport.ts';

/** Seconds that a long poll waits. */
const WAIT_SECONDS = 25;

/** Silence after which a stream counts as dead: several comments of the server. */
const SILENCE_MS = 60_000;

type Reader = (
  options: TransportOptions,
  accessId: string,
  after: string,
) => AsyncGenerator<Frame, void, void>;

export const streamTransport: Transport = (options) => merged(options, readStream);
export const pollTransport: Transport = (options) => merged(options, poll);

/** One reader a feed; the slowest taker holds all of them back. */
async function* merged(options: TransportOptions, read: Reader): AsyncGenerator<Frame, void, void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const readers = [...options.starts].map(([accessId, after]) =>
    read({ ...options, signal }, accessId, after),
  );
  const waiting = new Map(readers.map((reader) => [reader, next(reader)]));
  try {
    while (waiting.size > 0) {
      const { reader, result } = await Promise.race(waiting.values());
      if (result.done === true) {
        waiting.delete(reader);
        continue;
      }
      yield result.value;
      waiting.set(reader, next(reader));
    }
  } finally {
    stop.abort();
    for (const pending of waiting.values()) pending.catch(() => undefined);
  }
}

async function next(
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
    cursor = (await page(options, accessId, cursor, 0)).cursor;
    yield { type: 'start', accessId, cursor };
  }
  const watch = new AbortController();
  const signal = AbortSignal.any([options.signal, watch.signal]);
  const response = await ask(options, accessId, cursor, '', 'text/event-stream', signal);
  if (response.body === null) throw new ConnectionLost('this fetch cannot stream', false);
  yield { type: 'live', accessId };
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  try {
    for (;;) {
      const silence = setTimeout(() => {
        watch.abort();
      }, SILENCE_MS);
      const read = await reader.read().catch(() => undefined);
      clearTimeout(silence);
      if (read?.value === undefined) throw new ConnectionLost('the stream ended', true);
      text += read.value;
      const records = text.split('\n\n');
      text = records.pop() ?? '';
      const events = records.flatMap((record) => {
        const data = record.split('\n').find((line) => line.startsWith('data: '));
        return data === undefined ? [] : [eventOf(data.slice('data: '.length))];
      });
      if (events.length > 0) yield { type: 'events', events };
    }
  } finally {
    watch.abort();
    await reader.cancel().catch(() => undefined);
  }
}

async function* poll(
  options: TransportOptions,
  accessId: string,
  after: string,
): AsyncGenerator<Frame, void, void> {
  let cursor = after;
  let isLive = false;
  for (;;) {
    const found = await page(options, accessId, cursor, cursor === 'now' ? 0 : WAIT_SECONDS);
    if (found.events.length > 0) yield { type: 'events', events: found.events };
    else if (cursor === 'now' || cursor === 'start') yield { type: 'start', accessId, cursor: found.cursor };
    cursor = found.cursor;
    if (found.isCaughtUp && !isLive) {
      isLive = true;
      yield { type: 'live', accessId };
    }
  }
}

async function page(
  options: TransportOptions,
  accessId: string,
  after: string,
  waitSeconds: number,
): Promise<{ events: ReturnType<typeof eventsOf>; cursor: string; isCaughtUp: boolean }> {
  const more = `&limit=500&wait=${String(waitSeconds)}`;
  const response = await ask(options, accessId, after, more, 'application/json', options.signal);
  try {
    const text = await response.text();
    const { cursor, caught_up: isCaughtUp } = JSON.parse(text) as { cursor: string; caught_up: boolean };
    return { events: eventsOf(text), cursor, isCaughtUp };
  } catch {
    throw new ConnectionLost('the answer was cut off', true);
  }
}

/** @throws ConnectionLost for what may pass, ClientError for what does not */
async function ask(
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
  if (response.ok) return response;
  const text = await response.text().catch(() => '');
  const retryAfter = Number(response.headers.get('Retry-After') ?? 0) || 0;
  const isTemporary = response.status === 408 || response.status === 429 || response.status >= 500;
  if (isTemporary)
    throw new ConnectionLost(`the server answered ${String(response.status)}`, false, retryAfter);
  const refusal = refusalOf(text, `the server answered ${String(response.status)}`, response.status);
  throw refusal.accessId === undefined
    ? new ClientError(refusal.code, refusal.message, {
        status: response.status,
        accessId,
        ...(refusal.floor === undefined ? {} : { floor: refusal.floor }),
        ...(refusal.serverCode === undefined ? {} : { serverCode: refusal.serverCode }),
      })
    : refusal;
}
