/**
 * The positions that the index on disk does not reach yet, by access_id, in the main thread. There are up to two
 * generations: a new one begins when the writer starts to flush, and the old one is dropped when that flush is on disk.
 */
export interface RecentPositions {
  /** Counts an event, the next in order. */
  add(position: number, accessId: string): void;
  /** Begins a new generation: the writer flushes the events counted so far. */
  freeze(): void;
  /** Drops the oldest generation: its flush is on disk, up to this position. */
  indexed(through: number): void;
  /** Last position that the index on disk reaches. */
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
        const first = indexAfter(positions, position);
        found.push(...positions.slice(first, first + limit - found.length));
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

/** Index of the first of the ascending positions that is greater than `position`. */
function indexAfter(positions: readonly number[], position: number): number {
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
