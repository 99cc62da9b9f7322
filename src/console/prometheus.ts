/** The text form of Prometheus → numbers by name and labels, and what can be said from two of them. Pure. */

export interface Sample {
  /** Milliseconds of the page's own clock. */
  readonly at: number;
  /** By `name` or `name{label="value"}`. */
  readonly values: ReadonlyMap<string, number>;
}

export function parseMetrics(text: string, at: number): Sample {
  const values = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) {
      continue;
    }
    const space = line.lastIndexOf(' ');
    const value = line.slice(space + 1);
    values.set(line.slice(0, space), value === '+Inf' ? Infinity : Number(value));
  }
  return { at, values };
}

/** All values of a metric, whatever their labels, added up. `having` is a label's text that must be among them. */
export function total({ values }: Sample, name: string, having = ''): number {
  let sum = 0;
  for (const [key, value] of values) {
    if ((key === name || key.startsWith(`${name}{`)) && key.includes(having)) {
      sum += value;
    }
  }
  return sum;
}

/** How much a counter rose a second; 0 when it began anew. */
export function rate(before: Sample, now: Sample, name: string, having = ''): number {
  const rise = total(now, name, having) - total(before, name, having);
  const seconds = (now.at - before.at) / 1_000;
  return seconds > 0 && rise > 0 ? rise / seconds : 0;
}

/** A quantile of what a histogram saw between two samples, in its own unit; `NaN` when it saw nothing. */
export function quantile(before: Sample, now: Sample, name: string, q: number): number {
  const buckets = [...now.values]
    .flatMap(([key, value]) => {
      const le = key.startsWith(`${name}_bucket{`) ? /le="([^"]+)"/.exec(key)?.[1] : undefined;
      if (le === undefined) {
        return [];
      }
      return [{ le: le === '+Inf' ? Infinity : Number(le), count: value - (before.values.get(key) ?? 0) }];
    })
    .sort((a, b) => a.le - b.le);
  const all = buckets.at(-1)?.count ?? 0;
  if (all <= 0) {
    return NaN;
  }
  let lower = { le: 0, count: 0 };
  for (const bucket of buckets) {
    if (bucket.count >= q * all) {
      if (bucket.le === Infinity) {
        return lower.le;
      }
      const share = (q * all - lower.count) / Math.max(1, bucket.count - lower.count);
      return lower.le + (bucket.le - lower.le) * share;
    }
    lower = bucket;
  }
  return lower.le;
}
