/**
 * The positions that the index on disk does not reach yet, by access_id, in the main thread. Two generations: when
 * the writer begins to flush one, a new one is opened; when the flush is on disk, the old one is forgotten whole.
 */
export interface RecentPositions {
  /** Counts an event, the next in order. */
  add(position: number, accessId: string): void;
  /** The writer flushes everything counted so far. */
  freeze(): void;
  /** The flush that `freeze` announced is on disk up to here. */
  indexed(through: number): void;
  /** The index on disk reaches so far. */
  readonly indexedThrough: number;
  /** Positions of `accessId` after `position`, ascending, at most `limit`. */
  after(accessId: string, position: number, limit: number): number[];
  /** Position of the last event of `accessId` counted here, if any. */
  last(accessId: string): number | undefined;
}

export function createRecentPositions(indexedAtStart: number): RecentPositions {
  let indexedThrough = indexedAtStart;
  let generations = [new Map<string, number[]>()];

  return {
    get indexedThrough() {
      return indexedThrough;
    },
    add(position, accessId) {
      const current = generations.at(-1);
      const positions = current?.get(accessId);
      if (positions === undefined) {
        current?.set(accessId, [position]);
      } else {
        positions.push(position);
      }
    },
    freeze() {
      generations.push(new Map<string, number[]>());
    },
    indexed(through) {
      indexedThrough = through;
      generations = generations.slice(1);
    },
    after(accessId, position, limit) {
      const found: number[] = [];
      for (const generation of generations) {
        const positions = generation.get(accessId) ?? [];
        for (
          let at = firstAbove(positions, position);
          at < positions.length && found.length < limit;
          at += 1
        ) {
          found.push(positions[at] ?? 0);
        }
      }
      return found;
    },
    last(accessId) {
      for (const generation of generations.toReversed()) {
        const last = generation.get(accessId)?.at(-1);
        if (last !== undefined) {
          return last;
        }
      }
      return undefined;
    },
  };
}

function firstAbove(positions: readonly number[], position: number): number {
  let low = 0;
  let high = positions.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((positions[middle] ?? 0) <= position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
