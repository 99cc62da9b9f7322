/** Reads an archive into an empty log, completely or not at all. */
import type { LogTarget } from '../../engines/archive.ts';
import { LastseenError } from '../../errors.ts';
import type { LogEvent } from '../../log/event.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { createProgress } from '../io/progress.ts';
import { type ArchiveLine, decodeLine, lineError } from './codec.ts';

const PAGE = 2_000;

/** Returns the number of imported events. @throws ERR_REQUEST_INVALID, which names the line that is wrong */
export async function readArchive(lines: AsyncIterable<string>, target: LogTarget): Promise<number> {
  const progress = createProgress('imported', systemRuntime.clock);
  const versions = new Map<string, number>();
  let log: (ArchiveLine & { kind: 'log' }) | undefined;
  let end: (ArchiveLine & { kind: 'end' }) | undefined;
  let batch: Omit<LogEvent, 'lineage'>[] = [];
  let count = 0;
  let position = 0;
  let lineNumber = 0;

  const flush = async (): Promise<void> => {
    await target.events(batch);
    batch = [];
    progress.show(count);
  };

  for await (const text of lines) {
    lineNumber += 1;
    if (text.trim() === '') {
      continue;
    }
    const line = decodeLine(text, lineNumber);
    if (end !== undefined) {
      throw lineError(lineNumber, 'comes after the last line of an archive');
    }
    if ((log === undefined) !== (line.kind === 'log')) {
      throw lineError(lineNumber, 'is out of place: the first line, and no other, names the log');
    }
    switch (line.kind) {
      case 'log':
        log = line;
        break;
      case 'event': {
        const { event } = line;
        if (event.position <= position) {
          throw lineError(lineNumber, 'has a position that is not above the one before');
        }
        const before = versions.get(event.accessId);
        if (before !== undefined && event.version <= before) {
          throw lineError(lineNumber, 'has a version that is not above the one before of its access_id');
        }
        versions.set(event.accessId, event.version);
        position = event.position;
        count += 1;
        batch.push(event);
        if (batch.length >= PAGE) {
          await flush();
        }
        break;
      }
      case 'feed':
        await flush();
        await target.feeds([line.feed]);
        break;
      case 'batch':
        await target.batches([line.batch]);
        break;
      case 'term':
        await target.terms([line.term]);
        break;
      case 'end':
        end = line;
        break;
    }
  }
  if (log === undefined || end?.events !== count) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `the archive is truncated after line ${lineNumber}: nothing was imported`,
    );
  }
  await flush();
  await target.commit({
    epoch: log.epoch,
    floor: end.floor,
    head: end.head,
    taggedFrom: log.taggedFrom,
  });
  progress.end();
  return count;
}
