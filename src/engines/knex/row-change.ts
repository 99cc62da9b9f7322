/** Statements that the identity stores hand to the log. */
import type { Knex } from 'knex';
import type { RowChange } from '../../log/store.ts';

/** A statement for the log's own transaction. `rows` is how many it must change. */
export function rowChange(query: Knex.QueryBuilder, rows?: number): RowChange {
  const { sql, bindings } = query.toSQL().toNative();
  return { sql, bindings: [...bindings], ...(rows === undefined ? {} : { rows }) };
}
