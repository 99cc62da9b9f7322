/** Finds the version of a common cursor, of which the server says only where it is. */
import { ClientError } from '../errors.ts';
import { fetchPage } from './event-request.ts';
import { isVerdict, type TransportOptions } from './transport.ts';

export interface CommonPlace {
  readonly accessId: string;
  /** A cursor of the feed that the log holds. */
  readonly cursor: string;
  /** Older cursors, newest first. The log may refuse some of them. */
  readonly trail: readonly string[];
}

/**
 * Returns the version before the cursor: from the event after it, or else, if there is none yet, by reading the feed from
 * the newest cursor of the trail that the log holds. Returns `undefined` if pages cannot be read, as from a page of
 * another origin.
 */
export async function findVersion(
  options: TransportOptions,
  { accessId, cursor, trail }: CommonPlace,
): Promise<number | undefined> {
  const read = { accessId, waitSeconds: 0 };
  try {
    const [next] = (await fetchPage(options, { ...read, after: cursor, maxEvents: 1 })).events;
    if (next !== undefined) {
      return next.version - 1;
    }
    for (let [after, ...older] = trail; after !== undefined;) {
      const page = await fetchPage(options, { ...read, after }).catch(ignoreVerdict);
      const event = page?.events.find((candidate) => candidate.cursor === cursor);
      if (event !== undefined || page?.isCaughtUp === true) {
        return event?.version;
      }
      if (page === undefined) {
        [after, ...older] = older;
      } else {
        after = page.cursor;
      }
    }
  } catch {
    // Not known then.
  }
  return undefined;
}

function ignoreVerdict(error: unknown): undefined {
  if (!(error instanceof ClientError) || !isVerdict(error)) {
    throw error;
  }
}
