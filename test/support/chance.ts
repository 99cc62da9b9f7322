/** Chance that a seed repeats: what fails once can be run again with the same faults in the same order. */

/** `CHAOS_SEED`, or a seed of this run. */
export const SEED = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

export interface Chance {
  /** At least `least`, and less than `limit`. */
  between(least: number, limit: number): number;
  /** One of the values, each as likely as the others. */
  pick<T>(values: readonly [T, ...T[]]): T;
  /** The values in another order. */
  shuffle<T>(values: readonly T[]): T[];
}

/** Random numbers by mulberry32, with a state of 32 bits. */
export function createChance(seed: number): Chance {
  let state = seed >>> 0;
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  return {
    between: (least, limit) => least + next() * (limit - least),
    pick: (values) => values[Math.floor(next() * values.length)] ?? values[0],
    shuffle: (values) =>
      values
        .map((value) => ({ value, rank: next() }))
        .sort((a, b) => a.rank - b.rank)
        .map(({ value }) => value),
  };
}

/** Runs a test with the chance of `SEED`. A failure says the seed. */
export async function withSeed(run: (chance: Chance) => Promise<void>): Promise<void> {
  try {
    await run(createChance(SEED));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`CHAOS_SEED=${SEED} repeats the faults of this failure: ${reason}`, { cause: error });
  }
}
