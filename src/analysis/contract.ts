/**
 * What a query may read: the table and the views of the contract, and in them the access_ids that its token covers. The
 * sandboxes of both engines are built from this.
 */

/** The one table. */
export const EVENTS = 'events';

export const EVENT_COLUMNS = 'position, access_id, version, created_at, recorded_at, event_id, payload';

/** Views of the contract. Each reads `events` and nothing else, so it can also read a part of `events`. */
export const VIEWS = [
  'event_history',
  'event_counts',
  'event_gaps',
  'event_delays',
  'event_days',
  'access_id_activity',
] as const;

/** The access_ids that a query may read: everything, or exact names and prefixes that end in `*`. */
export type Access = 'everything' | readonly string[];

/**
 * The SQL condition on `access_id` that is true for what the patterns cover, as everywhere: only an exact name, or a
 * prefix that begins with `$`, covers the service's own feeds.
 */
export function accessCondition(patterns: readonly string[]): string {
  // No access_id contains U+0000, and no SQL literal can.
  const usable = patterns.filter((pattern) => !pattern.includes('\u0000'));
  const names = usable.filter((pattern) => !pattern.endsWith('*')).map(quoteLiteral);
  const prefixes = usable.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
  return joinWithOr([
    ...(names.length === 0 ? [] : [`access_id in (${names.join(', ')})`]),
    ...prefixes.map(prefixCondition),
  ]);
}

function prefixCondition(prefix: string): string {
  if (prefix === '') {
    return `substr(access_id, 1, 1) <> '$'`;
  }
  // Both sides count code points. The first condition can use an index.
  return `(access_id >= ${quoteLiteral(prefix)} and substr(access_id, 1, ${[...prefix].length}) = ${quoteLiteral(prefix)})`;
}

/** Joins in halves: a chain of thousands of conditions would be too deep for the parser. */
function joinWithOr(conditions: readonly string[]): string {
  const [first = '1 = 0'] = conditions;
  if (conditions.length < 2) {
    return first;
  }
  const half = conditions.length >> 1;
  return `(${joinWithOr(conditions.slice(0, half))} or ${joinWithOr(conditions.slice(half))})`;
}

function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
