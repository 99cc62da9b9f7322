/**
 * Checks the versions and the marks of an archive, feed by feed. Retention deletes the oldest events of a feed, so a hole in
 * the versions is right only if the mark of the feed covers it. Every position belongs to one feed: the last versions of
 * all feeds add up to the head.
 */
import type { ArchivedEvent, PrunedFeed } from '../../engines/archive.ts';
import { LastseenError, quote } from '../../errors.ts';
import { lineError } from './codec.ts';

export interface FeedChecks {
  /** The next event, ascending by position. @throws ERR_REQUEST_INVALID, which names the line */
  addEvent(event: ArchivedEvent, line: number): void;
  /**
   * The mark of a feed, after all events. Returns the position of its first event if the mark says that it is deleted.
   * @throws ERR_REQUEST_INVALID, which names the line
   */
  addMark(mark: PrunedFeed, line: number): number | undefined;
  /** @throws ERR_REQUEST_INVALID if a version is missing */
  end(head: number): void;
}

interface Feed {
  readonly firstPosition: number;
  readonly firstVersion: number;
  version: number;
  position: number;
  /** A mark must cover this version: the archive lacks it. 0: it lacks none. */
  missing: number;
  /** The line that shows it. */
  missingAt: number;
}

export function createFeedChecks(): FeedChecks {
  const feeds = new Map<string, Feed>();
  const marked = new Set<string>();
  /** Sum of the last versions of the feeds without events. */
  let withoutEvents = 0;

  return {
    addEvent({ accessId, version, position }, line) {
      const feed = feeds.get(accessId);
      if (feed === undefined) {
        feeds.set(accessId, {
          firstPosition: position,
          firstVersion: version,
          version,
          position,
          missing: version - 1,
          missingAt: line,
        });
        return;
      }
      if (version <= feed.version) {
        throw lineError(line, 'has a version that is not above the one before of its access_id');
      }
      if (version !== feed.version + 1) {
        feed.missing = version - 1;
        feed.missingAt = line;
      }
      feed.version = version;
      feed.position = position;
    },
    addMark(mark, line) {
      const { accessId, prunedVersion, prunedPosition } = mark;
      if (marked.has(accessId)) {
        throw lineError(line, `has the feed ${quote(accessId)} a second time`);
      }
      marked.add(accessId);
      if (prunedVersion > mark.version || prunedPosition > mark.position) {
        throw lineError(line, `has a mark beyond the last event of ${quote(accessId)}`);
      }
      const feed = feeds.get(accessId);
      if (feed === undefined) {
        if (prunedVersion !== mark.version || prunedPosition !== mark.position) {
          throw lineError(line, `has a feed whose events are missing: ${quote(accessId)}`);
        }
        withoutEvents += mark.version;
        return undefined;
      }
      if (feed.version > prunedVersion !== feed.position > prunedPosition) {
        throw lineError(
          line,
          `has a mark of ${quote(accessId)} at position ${prunedPosition} and version ${prunedVersion}, and its event at position ${feed.position} has version ${feed.version}`,
        );
      }
      if (feed.missing <= prunedVersion) {
        feed.missing = 0;
      }
      if (feed.version <= prunedVersion) {
        // All its events are deleted, and later ones that the archive need not have.
        feed.version = mark.version;
      }
      return feed.firstVersion <= prunedVersion ? feed.firstPosition : undefined;
    },
    end(head) {
      let sum = withoutEvents;
      for (const [accessId, feed] of feeds) {
        if (feed.missing > 0) {
          throw lineError(
            feed.missingAt,
            `follows a version that is missing: version ${feed.missing} of ${quote(accessId)}, and no mark says that retention deleted it`,
          );
        }
        sum += feed.version;
      }
      if (sum !== head) {
        throw new LastseenError(
          'ERR_REQUEST_INVALID',
          `the archive says that its log has ${head} positions, and its feeds have ${sum} versions: nothing was imported`,
        );
      }
    },
  };
}
