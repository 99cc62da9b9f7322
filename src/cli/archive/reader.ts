/** Reads an archive into an empty log, whole or not at all. */
import { newEpoch } from '../../../migrations/0001_log.ts';
import type { LogTarget } from '../../engines/archive.ts';
import { LastseenError } from '../../errors.ts';
import type { Event } from '../../log/event.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { createProgress } from '../io/progress.ts';
import { type ArchiveLine, decodeLine, lineError } from './codec.ts';

const PAGE = 2_000;

/** @throws ERR_REQUEST_INVALID naming the line that does not fit */
export async function readArchive(
  lines: AsyncIterable<string>,
  target: LogTarget,
  { keepsEpoch }: { readonly keepsEpoch: boolean },
): Promise<number> {
  const progress = createProgress('imported', systemRuntime.clock);
  const versions = new Map<string, number>();
  let epoch: string | undefined;
  let end: (ArchiveLine & { kind: 'end' }) | undefined;
  let batch: Event[] = [];
  let count = 0;
  let position = 0;
  let number = 0;

  const flush = async (): Promise<void> => {
    await target.events(batch);
    batch = [];
    progress.show(count);
  };

  for await (const text of lines) {
    number += 1;
    if (text.trim() === '') {
      continue;
    }
    const found = decodeLine(text, number);
    if (end !== undefined) {
      throw lineError(number, 'stands behind the end of the export');
    }
    if ((epoch === undefined) !== (found.kind === 'log')) {
      throw lineError(number, 'is not in its place: the first line, and only that, names the log');
    }
    switch (found.kind) {
      case 'log':
        epoch = found.epoch;
        break;
      case 'event': {
        const { event } = found;
        if (event.position <= position) {
          throw lineError(number, 'has a position that does not ascend');
        }
        const before = versions.get(event.accessId);
        if (before !== undefined && event.version <= before) {
          throw lineError(number, 'has a version that does not ascend');
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
        await target.feeds([found.feed]);
        break;
      case 'batch':
        await target.batches([found.batch]);
        break;
      case 'end':
        end = found;
        break;
    }
  }
  if (epoch === undefined || end?.events !== count) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `the export is cut off after line ${number}: nothing was imported`,
    );
  }
  await flush();
  await target.commit({ epoch: keepsEpoch ? epoch : newEpoch(), floor: end.floor, head: end.head });
  progress.end();
  return count;
}
