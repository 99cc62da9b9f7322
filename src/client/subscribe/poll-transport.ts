/** A subscription over long polls, for networks that block WebSockets and buffer streams. */
import { ClientError } from '../errors.ts';
import { fetchPage } from './event-request.ts';
import { type FrameReader, mergeFeeds } from './merged-feeds.ts';
import {
  ConnectionLost,
  type FeedStart,
  isVerdict,
  type Transport,
  type TransportOptions,
} from './transport.ts';

/** The longest wait of a poll for an event. Proxies cut connections that are silent for 60 s. */
const WAIT_SECONDS = 25;

export const pollTransport: Transport = (options) => mergeFeeds(options, pollFeed);

async function* pollFeed(options: TransportOptions, accessId: string, start: FeedStart): FrameReader {
  let cursor = start.after;
  let isLive = false;
  for (;;) {
    const waitSeconds = cursor === 'now' ? 0 : WAIT_SECONDS;
    const trail = cursor === start.after ? start.trail : [];
    const page = await fetchPage(options, { accessId, after: cursor, trail, waitSeconds }).catch(
      (error: unknown): never => {
        // The cursor of a page may follow events of other feeds: only the cursor of the loop proves what the loop has.
        throw error instanceof ClientError && isVerdict(error) && cursor !== start.after
          ? new ConnectionLost(error.message, { wasOpen: true })
          : error;
      },
    );
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
