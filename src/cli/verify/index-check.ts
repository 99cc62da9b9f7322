/**
 * The deferred index of the SQLite engine beside the events, segment by segment: it has every event that it covers, under
 * the right access_id, and no other except those that retention has deleted.
 */
import type { ArchivedEvent } from '../../engines/archive.ts';
import type { IndexChunk, LogUnderCheck } from '../../engines/verify.ts';
import { quote } from '../../errors.ts';
import { LogFault } from './fault.ts';
import { SEGMENT_POSITIONS } from './segment-digest.ts';

export interface IndexCheck {
  /** The next events, ascending. @throws LogFault for a segment that they complete */
  add(events: readonly ArchivedEvent[]): Promise<void>;
  /** Checks the last segment. @throws LogFault */
  end(): Promise<void>;
}

type Indexed = Pick<ArchivedEvent, 'accessId' | 'createdAt'>;

export function checkIndex({ index, prunedPosition }: LogUnderCheck): IndexCheck {
  if (index === undefined) {
    return { add: () => Promise.resolve(), end: () => Promise.resolve() };
  }
  const { indexedThrough, chunks } = index;
  let segment = 0;
  let events = new Map<number, Indexed>();
  /** The last event that was read: the index may have later ones. */
  let last = 0;

  async function check(): Promise<void> {
    // Read before the index: a flush writes its rows first, and then how far they reach.
    const indexed = Math.min(await indexedThrough(), last);
    const deleted = new Map<string, number>();
    for (const chunk of await chunks(segment)) {
      checkChunk(chunk, indexed, deleted);
    }
    for (const [accessId, position] of deleted) {
      if ((await prunedPosition(accessId)) < position) {
        throw new LogFault(
          position,
          `the index has an event of ${quote(accessId)} here, and the log has none; retention has not deleted it`,
        );
      }
    }
    for (const [position, { accessId }] of events) {
      // Retention may have deleted the event since it was read, and its rows of the index.
      if (position <= indexed && (await prunedPosition(accessId)) < position) {
        throw new LogFault(position, `the index lacks this event of ${quote(accessId)}`);
      }
    }
  }

  /** Takes the events that the chunk has from those that were read, and notes those that the log lacks. */
  function checkChunk(chunk: IndexChunk, indexed: number, deleted: Map<string, number>): void {
    let before = -1;
    for (const offset of chunk.offsets) {
      const position = segment * SEGMENT_POSITIONS + offset;
      if (offset <= before || offset > chunk.lastOffset) {
        throw new LogFault(position, `the index of ${quote(chunk.accessId)} is not in order here`);
      }
      before = offset;
      if (position > indexed) {
        return;
      }
      const event = events.get(position);
      if (event === undefined) {
        deleted.set(chunk.accessId, Math.max(position, deleted.get(chunk.accessId) ?? 0));
        continue;
      }
      if (event.accessId !== chunk.accessId) {
        throw new LogFault(
          position,
          `is an event of ${quote(event.accessId)}, and the index has it as one of ${quote(chunk.accessId)}`,
        );
      }
      if (event.createdAt > chunk.maxCreatedAt) {
        throw new LogFault(
          position,
          `has the created_at ${event.createdAt}, and the index says that none here is above ${chunk.maxCreatedAt}`,
        );
      }
      events.delete(position);
    }
  }

  return {
    async add(page) {
      for (const { position, accessId, createdAt } of page) {
        const found = Math.floor(position / SEGMENT_POSITIONS);
        if (found !== segment) {
          // Events of this segment are over: what follows is above them.
          last = position;
          await check();
          segment = found;
          events = new Map();
        }
        events.set(position, { accessId, createdAt });
        last = position;
      }
    },
    end: check,
  };
}
