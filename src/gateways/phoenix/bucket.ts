/** How often something may be done: at once as often as the bucket is full, then so often a second. */

export interface Bucket {
  /** False when it was done too often. */
  take(): boolean;
}

export function createBucket(capacity: number, perSecond: number): Bucket {
  let level = capacity;
  let at = Date.now();
  return {
    take() {
      const now = Date.now();
      level = Math.min(capacity, level + ((now - at) / 1_000) * perSecond);
      at = now;
      if (level < 1) {
        return false;
      }
      level -= 1;
      return true;
    },
  };
}
