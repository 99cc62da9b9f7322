/**
 * Reads an archive into an empty log, completely or not at all. An archive is read only if it agrees with itself: positions
 * and versions ascend without holes that no mark explains, no mark, batch or term lies beyond the head, and the digests of
 * segments are those of its events.
 */
import type { ArchivedEvent, LogTarget } from '../../engines/archive.ts';
import { LastseenError } from '../../errors.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { createProgress } from '../io/progress.ts';
import { createSegmentDigests, type ReadSegment } from '../verify/segment-digest.ts';
import { type ArchiveLine, decodeLine, lineError } from './codec.ts';
import { createFeedChecks } from './feed-checks.ts';

const PAGE = 2_000;

type Line<Kind extends ArchiveLine['kind']> = ArchiveLine & { readonly kind: Kind };

/** Returns the number of imported events. @throws ERR_REQUEST_INVALID, which names the line that is wrong */
export async function readArchive(lines: AsyncIterable<string>, target: LogTarget): Promise<number> {
  const progress = createProgress('imported', systemRuntime.clock);
  const feeds = createFeedChecks();
  const digests = createSegmentDigests();
  const segments = new Map<number, ReadSegment>();
  let log: Line<'log'> | undefined;
  let end: Line<'end'> | undefined;
  let page: ArchivedEvent[] = [];
  let isAfterEvents = false;
  let position = 0;
  let count = 0;
  /** Highest position of a batch, a term or a mark, and its line. */
  let highest = { position: 0, line: 0 };
  let number = 0;

  async function flush(): Promise<void> {
    for (const segment of digests.add(page)) {
      segments.set(segment.firstPosition, segment);
    }
    await target.events(page);
    page = [];
    progress.show(count);
  }

  /** Events come first: the marks say which of them are deleted. */
  async function endEvents(): Promise<void> {
    if (!isAfterEvents) {
      isAfterEvents = true;
      await flush();
      for (const segment of digests.end(Number.MAX_SAFE_INTEGER)) {
        segments.set(segment.firstPosition, segment);
      }
    }
  }

  function note(found: number): void {
    if (found > highest.position) {
      highest = { position: found, line: number };
    }
  }

  async function read(line: ArchiveLine): Promise<void> {
    switch (line.kind) {
      case 'log':
        log = line;
        break;
      case 'event': {
        const { event } = line;
        if (isAfterEvents) {
          throw lineError(number, 'is out of place: an event comes after the feeds');
        }
        if (event.position <= position) {
          throw lineError(
            number,
            `has a position that is not above the one before: ${event.position} after ${position}`,
          );
        }
        feeds.addEvent(event, number);
        position = event.position;
        count += 1;
        page.push(event);
        if (page.length >= PAGE) {
          await flush();
        }
        break;
      }
      case 'feed': {
        await endEvents();
        const supersededFrom = feeds.addMark(line.feed, number);
        note(Math.max(line.feed.position, line.feed.prunedPosition));
        await target.feeds([{ ...line.feed, supersededFrom }]);
        break;
      }
      case 'batch':
        if (line.batch.firstPosition > line.batch.lastPosition + 1) {
          throw lineError(number, 'has a batch that ends before it begins');
        }
        note(line.batch.lastPosition);
        await target.batches([line.batch]);
        break;
      case 'term':
        note(line.term.firstPosition);
        await target.terms([line.term]);
        break;
      case 'segment': {
        await endEvents();
        const { segment } = line;
        const found = segments.get(segment.firstPosition);
        // Retention may have deleted events since the digest was computed: then it says nothing of the others.
        if (found?.events === segment.events) {
          if (found.sha256 !== segment.sha256) {
            throw lineError(
              number,
              `has a digest that is not the one of the events from ${segment.firstPosition} to ${segment.lastPosition}: one of them was changed`,
            );
          }
          await target.segments([segment]);
        }
        break;
      }
      case 'end':
        end = line;
        break;
    }
  }

  for await (const text of lines) {
    number += 1;
    if (text.trim() === '') {
      continue;
    }
    const line = decodeLine(text, number);
    if (end !== undefined) {
      throw lineError(number, 'comes after the last line of an archive');
    }
    if ((log === undefined) !== (line.kind === 'log')) {
      throw lineError(number, 'is out of place: the first line, and no other, names the log');
    }
    await read(line);
  }
  if (log === undefined || end?.events !== count) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `the archive is truncated after line ${number}: nothing was imported`,
    );
  }
  const { floor, head, epoch } = end;
  if (epoch !== undefined && epoch !== log.epoch) {
    throw lineError(
      number,
      `ends the archive of another log: epoch ${epoch}, and the first line has ${log.epoch}`,
    );
  }
  if (head < log.head) {
    throw lineError(
      number,
      `ends at ${head}, and the first line says that the log has ${log.head} positions`,
    );
  }
  if (highest.position > head) {
    throw lineError(
      highest.line,
      `has the position ${highest.position}, which is beyond the end of the archive at ${head}`,
    );
  }
  feeds.end(head);
  await endEvents();
  await target.commit({ epoch: log.epoch, floor, head, taggedFrom: log.taggedFrom });
  progress.end();
  return count;
}
