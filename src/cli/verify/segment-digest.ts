/**
 * The digest of a segment: SHA-256 over one line of UTF-8 for each event, ascending by position. The line is a JSON array
 * of position, access_id, version, created_at, recorded_at, event_id, payload and tag, without white space and with a line
 * feed at its end. The payload is the text as stored; event_id and tag are null where the event has none. Both engines
 * store the same values, so the digest of a segment does not depend on the engine.
 */
import { createHash, type Hash } from 'node:crypto';
import type { ArchivedEvent } from '../../engines/archive.ts';

/** Positions of one segment: the n-th has `n * SEGMENT_POSITIONS` and those after it. Position 0 has no event. */
export const SEGMENT_POSITIONS = 65_536;

/** A segment as it was read. */
export interface ReadSegment {
  readonly firstPosition: number;
  readonly lastPosition: number;
  /** Events that the log had. */
  readonly events: number;
  readonly sha256: string;
}

export function canonicalLine(event: ArchivedEvent): string {
  const { position, accessId, version, createdAt, recordedAt, id, payload, tag } = event;
  const eventId = id === null ? 'null' : JSON.stringify(id);
  return `[${position},${JSON.stringify(accessId)},${version},${createdAt},${recordedAt},${eventId},${payload},${tag === 0 ? 'null' : tag}]\n`;
}

/** Computes the digests of a log that is read ascending. */
export interface SegmentDigests {
  /** Adds the next events. Returns the segments that end before the last of them. */
  add(events: readonly ArchivedEvent[]): ReadSegment[];
  /** The segment of the last event if the log has all its positions. */
  end(head: number): ReadSegment[];
}

export function createSegmentDigests(): SegmentDigests {
  let segment = 0;
  let count = 0;
  let hash: Hash = createHash('sha256');

  function finish(): ReadSegment[] {
    if (count === 0) {
      return [];
    }
    const read = {
      firstPosition: Math.max(1, segment * SEGMENT_POSITIONS),
      lastPosition: (segment + 1) * SEGMENT_POSITIONS - 1,
      events: count,
      sha256: hash.digest('hex'),
    };
    hash = createHash('sha256');
    count = 0;
    return [read];
  }

  return {
    add(events) {
      const finished: ReadSegment[] = [];
      let lines = '';
      for (const event of events) {
        const found = Math.floor(event.position / SEGMENT_POSITIONS);
        if (found !== segment) {
          hash.update(lines);
          lines = '';
          finished.push(...finish());
          segment = found;
        }
        lines += canonicalLine(event);
        count += 1;
      }
      hash.update(lines);
      return finished;
    },
    end: (head) => (head >= (segment + 1) * SEGMENT_POSITIONS - 1 ? finish() : []),
  };
}
