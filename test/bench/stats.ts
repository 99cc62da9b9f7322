/** Medians, percentiles, and numbers as a reader wants them. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** The value below which `share` (0 to 1) of the sorted values lie; 0 without values. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const low = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
  const high = sorted[Math.floor(sorted.length / 2)] ?? 0;
  return { median: (low + high) / 2, min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0 };
}

/** `above[i] / below[i]`: both were measured in the same run. */
export function ratios(above: readonly number[], below: readonly number[]): number[] {
  return above.map((value, run) => value / (below[run] ?? Number.NaN));
}

/** Three significant digits; thousands as `12.3k`. */
export function shownNumber(value: number): string {
  if (value >= 1_000_000) {
    return `${(value / 1_000_000).toPrecision(3)}M`;
  }
  if (value >= 1_000) {
    return `${(value / 1_000).toFixed(value >= 100_000 ? 0 : 1)}k`;
  }
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export function shownSpread({ median, min, max }: Spread): string {
  return `${shownNumber(median)} (${shownNumber(min)}–${shownNumber(max)})`;
}
