/**
 * Checks a log while servers run: reads it once, in pages, from the first event to the end that it had at the beginning.
 * Then checks what the log says about its events: the marks of retention, the batches, and the digests of its sealed
 * segments. Digests are kept only when all checks have passed.
 */
import type { SegmentDigest } from '../../engines/archive.ts';
import type { FeedRow, LogUnderCheck } from '../../engines/verify.ts';
import { quote } from '../../errors.ts';
import { type Clock, nextTurn, type Timers } from '../../runtime.ts';
import { checkPositions, checkTags, checkVersions, type LastEvent } from './checks.ts';
import { LogFault } from './fault.ts';
import { checkIndex } from './index-check.ts';
import { createSegmentDigests, type ReadSegment } from './segment-digest.ts';

/** What a check has found in a log without a fault. */
export interface Verified {
  readonly epoch: string;
  readonly floor: number;
  readonly head: number;
  readonly events: number;
  /** Sealed segments whose digest is the one that was kept. */
  readonly compared: number;
  /** Sealed segments without a digest before: they have one now. */
  readonly computed: number;
  /** Sealed segments from which retention has deleted events since: their digest is computed anew, or forgotten. */
  readonly renewed: number;
  readonly kept: readonly SegmentDigest[];
  readonly gone: readonly number[];
}

export interface VerifyOptions {
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  /** Called after each page: events read, and the share of the log. */
  readonly onProgress: (events: number, share: number) => void;
}

/** @throws LogFault, which names the first position that does not fit */
export async function verifyLog(log: LogUnderCheck, options: VerifyOptions): Promise<Verified> {
  const prunedBefore = await sumPruned(log);
  const positions = checkPositions();
  const versions = checkVersions();
  const checks = [positions, versions, checkTags()];
  const index = checkIndex(log);
  const segments = createSegmentDigests();
  const read: ReadSegment[] = [];

  let page = await log.page(0);
  const { epoch, floor, head } = page.state;
  for (let position = 0; page.events.length > 0; page = await log.page(position)) {
    if (page.state.epoch !== epoch) {
      throw new LogFault(position, `another log replaced this one during the check: repeat it`);
    }
    const events = page.events.filter((event) => event.position <= head);
    for (const check of checks) {
      check.page({ ...page, events });
    }
    await index.add(events);
    read.push(...segments.add(events));
    position = page.events.at(-1)?.position ?? position;
    options.onProgress(positions.count, Math.min(1, position / Math.max(1, head)));
    if (position >= head) {
      break;
    }
    // Reads of SQLite are synchronous: this lets signals in.
    await nextTurn(options.timers);
  }
  await index.end();
  read.push(...segments.end(head));
  const indexed = await log.index?.indexedThrough();
  const prunedAfter = await checkFeeds(log, versions.feeds, indexed ?? 0);
  checkCount({ head, count: positions.count, firstHole: positions.firstHole, prunedBefore, prunedAfter });
  await checkBatches(log);
  const digests = compareDigests(read, await log.segments(), options.clock.now());
  return { epoch, floor, head, events: positions.count, ...digests };
}

/** Events that retention has deleted: its marks count them, since versions have no holes. */
async function sumPruned(log: LogUnderCheck): Promise<number> {
  let sum = 0;
  for await (const { prunedVersion } of feedsOf(log)) {
    sum += prunedVersion;
  }
  return sum;
}

/** Checks the table of feeds, and returns the number of events that retention has deleted. */
async function checkFeeds(
  log: LogUnderCheck,
  read: ReadonlyMap<string, LastEvent>,
  indexed: number,
): Promise<number> {
  let sum = 0;
  let covered = 0;
  for await (const feed of feedsOf(log)) {
    checkFeed(feed);
    sum += feed.prunedVersion;
    const last = read.get(feed.accessId);
    if (last !== undefined && last.position <= indexed) {
      covered += 1;
      if (feed.position < last.position) {
        throw new LogFault(
          last.position,
          `is an event of ${quote(feed.accessId)}, and the table of feeds says that its last event is at ${feed.position}`,
        );
      }
    }
  }
  for (const [accessId, last] of read) {
    if (last.position <= indexed) {
      covered -= 1;
      if (covered < 0) {
        throw new LogFault(
          last.position,
          `is an event of ${quote(accessId)}, and the table of feeds lacks a feed`,
        );
      }
    }
  }
  return sum;
}

function checkFeed(feed: FeedRow & { readonly head: number }): void {
  const { accessId, version, position, prunedVersion, prunedPosition, last, head } = feed;
  const name = quote(accessId);
  if (prunedPosition > head) {
    throw new LogFault(
      prunedPosition,
      `the mark of retention of ${name} lies beyond the end of the log, which is ${head}`,
    );
  }
  if (position > head) {
    throw new LogFault(
      position,
      `the last event of ${name} lies beyond the end of the log, which is ${head}`,
    );
  }
  if (prunedVersion > version || prunedPosition > position || prunedVersion > prunedPosition) {
    throw new LogFault(
      prunedPosition,
      `the mark of retention of ${name} is version ${prunedVersion}, and its last event is version ${version} at position ${position}`,
    );
  }
  if (position > prunedPosition && (last?.accessId !== accessId || last.version !== version)) {
    throw new LogFault(
      position,
      `the table of feeds says that this is version ${version} of ${name}, and the log has ${last === undefined ? 'no event here' : `version ${last.version} of ${quote(last.accessId)}`}`,
    );
  }
}

/** Every position has an event, or retention has deleted it. Retention may have gone on during the check. */
function checkCount(found: {
  readonly head: number;
  readonly count: number;
  readonly firstHole: number | undefined;
  readonly prunedBefore: number;
  readonly prunedAfter: number;
}): void {
  const { head, count, firstHole, prunedBefore, prunedAfter } = found;
  const missing = head - count;
  if (missing > prunedAfter || missing < Math.min(prunedBefore, head)) {
    throw new LogFault(
      firstHole ?? count + 1,
      `the log lacks an event here, or at a later position without one: ${missing} of ${head} positions have none, and retention has deleted ${prunedAfter}`,
    );
  }
}

async function checkBatches(log: LogUnderCheck): Promise<void> {
  for (let after = ''; ;) {
    const { head, batches } = await log.batches(after);
    for (const { key, firstPosition, lastPosition, tag, lastTag } of batches) {
      if (lastPosition > head || firstPosition > lastPosition + 1) {
        throw new LogFault(
          lastPosition,
          `the batch with the key ${quote(key)} has the positions ${firstPosition} to ${lastPosition}, and the log ends at ${head}`,
        );
      }
      if (firstPosition <= lastPosition && lastTag !== undefined && lastTag !== tag) {
        throw new LogFault(
          lastPosition,
          `has the tag ${lastTag}, and the batch with the key ${quote(key)} that ends here has ${tag}`,
        );
      }
    }
    const last = batches.at(-1);
    if (last === undefined) {
      return;
    }
    after = last.key;
  }
}

type Digests = Pick<Verified, 'compared' | 'computed' | 'renewed' | 'kept' | 'gone'>;

function compareDigests(
  read: readonly ReadSegment[],
  stored: readonly SegmentDigest[],
  checkedAt: number,
): Digests {
  const storedOf = new Map(stored.map((segment) => [segment.firstPosition, segment]));
  const kept: SegmentDigest[] = [];
  let compared = 0;
  let computed = 0;
  let renewed = 0;
  for (const segment of read) {
    const before = storedOf.get(segment.firstPosition);
    storedOf.delete(segment.firstPosition);
    if (before?.events === segment.events) {
      if (before.sha256 !== segment.sha256) {
        throw new LogFault(
          segment.firstPosition,
          `the events from here to ${segment.lastPosition} are not those of the check at ${new Date(before.checkedAt).toISOString()}: one of them was changed`,
        );
      }
      compared += 1;
      continue;
    }
    if (before !== undefined && before.events < segment.events) {
      throw new LogFault(
        segment.firstPosition,
        `there are ${segment.events} events from here to ${segment.lastPosition}, and at ${new Date(before.checkedAt).toISOString()} there were ${before.events}`,
      );
    }
    if (before === undefined) {
      computed += 1;
    } else {
      renewed += 1;
    }
    kept.push({ ...segment, checkedAt });
  }
  // Retention has deleted all their events.
  const gone = [...storedOf.keys()];
  return { compared, computed, renewed: renewed + gone.length, kept, gone };
}

async function* feedsOf(log: LogUnderCheck): AsyncGenerator<FeedRow & { readonly head: number }> {
  for (let after = ''; ;) {
    const { head, feeds } = await log.feeds(after);
    for (const feed of feeds) {
      yield { ...feed, head };
    }
    const last = feeds.at(-1);
    if (last === undefined) {
      return;
    }
    after = last.accessId;
  }
}
