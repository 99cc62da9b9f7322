/**
 * Finds out from the progress of checkpoints whether a reader keeps the write-ahead log (WAL) from being reused. A
 * checkpoint copies frames up to the oldest snapshot that a reader uses. If it stops at the same frame while frames are
 * added behind it, a reader holds that snapshot.
 */

export interface WalProgress {
  /** Frames in the WAL. */
  readonly log: number;
  /** Those of them that are in the file. */
  readonly checkpointed: number;
  readonly bytes: number;
  /** Steady time in milliseconds. */
  readonly now: number;
}

export interface PinWatch {
  /** `isNews` is true once for each pin that the operator should know, and again each time the WAL has doubled. */
  observe(progress: WalProgress): { readonly pinnedMs: number; readonly isNews: boolean };
}

/** A WAL of this size and a pin of this age are worth a line in the log. */
const NEWS_BYTES = 64 * 1024 * 1024;
const NEWS_MS = 5_000;

export function createPinWatch(): PinWatch {
  let stoppedAt = -1;
  let since = 0;
  let newsBytes = NEWS_BYTES;

  return {
    observe({ log, checkpointed, bytes, now }) {
      if (checkpointed >= log || checkpointed !== stoppedAt) {
        stoppedAt = checkpointed < log ? checkpointed : -1;
        since = now;
        newsBytes = NEWS_BYTES;
        return { pinnedMs: 0, isNews: false };
      }
      const pinnedMs = now - since;
      const isNews = pinnedMs >= NEWS_MS && bytes >= newsBytes;
      if (isNews) {
        newsBytes = bytes * 2;
      }
      return { pinnedMs, isNews };
    },
  };
}
