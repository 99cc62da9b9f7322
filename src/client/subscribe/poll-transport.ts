/** A subscription over long polls, for networks that block WebSockets and buffer streams. */
import { fetchPage } from './event-request.ts';
import { type FrameReader, mergeFeeds } from './merged-feeds.ts';
import type { Transport, TransportOptions } from './transport.ts';

/** The longest wait of a poll for an event. Proxies cut connections that are silent for 60 s. */
const WAIT_SECONDS = 25;

export const pollTransport: Transport = (options) => mergeFeeds(options, pollFeed);

async function* pollFeed(options: TransportOptions, accessId: string, after: string): FrameReader {
  let cursor = after;
  let isLive = false;
  for (;;) {
    const waitSeconds = cursor === 'now' ? 0 : WAIT_SECONDS;
    const page = await fetchPage(options, { accessId, after: cursor, waitSeconds });
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
