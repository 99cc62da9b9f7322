/** A subscription over event streams (server-sent events), one for each feed, for networks that block WebSockets. */
import { createTimeoutSignal } from '../timeout-signal.ts';
import { type ClientEvent, parseEvent } from './event.ts';
import { fetchPage, requestEvents } from './event-request.ts';
import { type FrameReader, mergeFeeds } from './merged-feeds.ts';
import {
  ConnectionLost,
  type FeedStart,
  type Transport,
  type TransportOptions,
  unreadableAnswer,
} from './transport.ts';

export const streamTransport: Transport = (options) => mergeFeeds(options, readStream);

async function* readStream(options: TransportOptions, accessId: string, start: FeedStart): FrameReader {
  let cursor = start.after;
  // A stream sends no cursor before its first event, so a page turns "now" into a cursor first.
  if (cursor === 'now') {
    ({ cursor } = await fetchPage(options, { accessId, after: cursor, waitSeconds: 0 }));
    yield { type: 'start', accessId, cursor };
  }
  const { timers, silenceMs, signal: parent } = options;
  const silence = createTimeoutSignal({ timers, ms: silenceMs, parent });
  try {
    const response = await requestEvents(options, {
      accessId,
      after: cursor,
      trail: start.trail,
      mediaType: 'text/event-stream',
      signal: silence.signal,
    });
    silence.pause();
    if (response.body === null) {
      throw new ConnectionLost('fetch returned no stream', { wasOpen: false });
    }
    yield { type: 'live', accessId };
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      silence.restart();
      const read = await reader.read().catch(() => undefined);
      silence.pause();
      if (read?.value === undefined) {
        throw new ConnectionLost('the stream ended', { wasOpen: true });
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
    silence.abort();
  }
}

/** The event of one record of the stream. A comment has none. */
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
