/** One transport out of several connections, one for each feed. */
import { createTimeoutSignal } from '../timeout-signal.ts';
import type { FeedStart, Frame, TransportOptions } from './transport.ts';

export type FrameReader = AsyncGenerator<Frame, void, void>;

/** Opens the connection of one feed. */
export type FeedReader = (options: TransportOptions, accessId: string, start: FeedStart) => FrameReader;

/**
 * Gives the frames of all feeds in the order in which they come. Each feed reads one frame ahead of the loop, so a slow
 * loop holds all of them back. The end or failure of the loop closes every connection.
 */
export async function* mergeFeeds(options: TransportOptions, read: FeedReader): FrameReader {
  const { timers, signal: parent } = options;
  const closing = createTimeoutSignal({ timers, parent });
  const readers = [...options.starts].map(([accessId, start]) =>
    read({ ...options, signal: closing.signal }, accessId, start),
  );
  const pending = new Map(readers.map((reader) => [reader, readNext(reader)]));
  try {
    while (pending.size > 0) {
      const { reader, result } = await Promise.race(pending.values());
      if (result.done === true) {
        pending.delete(reader);
        continue;
      }
      yield result.value;
      pending.set(reader, readNext(reader));
    }
  } finally {
    closing.abort();
    for (const next of pending.values()) {
      next.catch(() => undefined);
    }
  }
}

async function readNext(
  reader: FrameReader,
): Promise<{ readonly reader: FrameReader; readonly result: IteratorResult<Frame, void> }> {
  return { reader, result: await reader.next() };
}
