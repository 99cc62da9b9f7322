/**
 * What a query may reach: the tables and views of the contract, and of them the access_ids that its token covers.
 * Both engines build their sandbox from this.
 */

/** The one table. */
export const EVENTS = 'events';

export const EVENT_COLUMNS = 'position, access_id, version, created_at, recorded_at, event_id, payload';

/** Views of the contract. Each reads `events` and nothing else, so each can stand over a part of it. */
export const VIEWS = [
  'event_history',
  'event_counts',
  'event_gaps',
  'event_delays',
  'event_days',
  'access_id_activity',
] as const;

/** The access_ids that a query sees: everything, or exact names and prefixes that end in `*`. */
export type Access = 'everything' | readonly string[];

/**
 * The condition on `access_id` that lets through what the patterns cover, as a token's patterns are read everywhere:
 * the service's own feeds are covered only by name, or by a prefix that names them.
 */
export function accessCondition(patterns: readonly string[]): string {
  // No access_id holds U+0000, and no literal can.
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
  // Characters are code points here as there. The first condition lets an index be used.
  return `(access_id >= ${quoteLiteral(prefix)} and substr(access_id, 1, ${[...prefix].length}) = ${quoteLiteral(prefix)})`;
}

/** Halved again and again: a chain of a thousand would be too deep for the parser. */
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
