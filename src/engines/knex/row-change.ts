/** What the stores of identity share: statements for the log's transaction, and numbers as they come from a database. */
import type { Knex } from 'knex';
import type { RowChange } from '../../log/store.ts';

/** A statement for the log's own transaction. `rows` is the number of rows that it must change. */
export function rowChange(query: Knex.QueryBuilder, rows?: number): RowChange {
  const { sql, bindings } = query.toSQL().toNative();
  return { sql, bindings: [...bindings], ...(rows === undefined ? {} : { rows }) };
}

/** A nullable bigint, which PostgreSQL returns as text. */
export function numberOrNull(value: number | string | null): number | null {
  return value === null ? null : Number(value);
}
