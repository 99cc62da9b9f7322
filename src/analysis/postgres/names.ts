/**
 * The names that a query on PostgreSQL may use. Its role cannot read other tables, but PostgreSQL lets every role call
 * functions: therefore a name before a parenthesis must be on a list, and names of the catalogue are refused everywhere.
 */
import { POSTGRES_BEFORE_PARENTHESIS, POSTGRES_FUNCTIONS } from '../functions.ts';
import { queryRefused, type Token } from '../statement.ts';

/** Names of the catalogue, types that read it, and words that reveal the server's settings. */
const NEVER =
  /^(pg_.*|reg(class|collation|config|dictionary|namespace|oper|operator|proc|procedure|role|type)|information_schema|lo_.*|dblink.*|current_(user|role|catalog|schema|database|setting|schemas)|session_user|system_user|user|set_config|operator|tablesample)$/;

/**
 * Checks every name of the statement. `callable` are the functions with one argument: PostgreSQL also calls them like a
 * column, `(text).f`. @throws ERR_QUERY_REFUSED
 */
export function requirePostgresNames(tokens: readonly Token[], callable: ReadonlySet<string>): void {
  tokens.forEach((token, index) => {
    if (token.kind !== 'word' && token.kind !== 'quoted') {
      return;
    }
    if (NEVER.test(token.text)) {
      throw queryRefused(`the name ${quoteName(token)} is not available to queries`);
    }
    if (isSymbol(tokens[index - 1], '.') && callable.has(token.text) && !POSTGRES_FUNCTIONS.has(token.text)) {
      throw queryRefused(
        `${quoteName(token)} after a dot would call a function that is not available to queries: rename the column`,
      );
    }
    if (!isSymbol(tokens[index + 1], '(')) {
      return;
    }
    if (token.kind === 'word' && POSTGRES_BEFORE_PARENTHESIS.has(token.text)) {
      return;
    }
    if (POSTGRES_FUNCTIONS.has(token.text) && !isSymbol(tokens[index - 1], '.')) {
      return;
    }
    if (namesColumns(tokens, index)) {
      return;
    }
    throw queryRefused(
      `the function ${quoteName(token)} is not available to queries (write AS before an alias with columns)`,
    );
  });
}

/** True for `name (a, b)` after AS, and for `name (a, b) as (select …)` in a WITH: neither is a call. */
function namesColumns(tokens: readonly Token[], index: number): boolean {
  const before = tokens[index - 1];
  if (isWord(before, 'as')) {
    return true;
  }
  if (!isWord(before, 'with') && !isWord(before, 'recursive') && !isSymbol(before, ',')) {
    return false;
  }
  let next = index + 2;
  while (tokens[next]?.kind === 'word' || tokens[next]?.kind === 'quoted' || isSymbol(tokens[next], ',')) {
    next += 1;
  }
  if (!isSymbol(tokens[next], ')') || !isWord(tokens[next + 1], 'as')) {
    return false;
  }
  next += 2;
  if (isWord(tokens[next], 'not')) {
    next += 1;
  }
  if (isWord(tokens[next], 'materialized')) {
    next += 1;
  }
  const body = tokens[next + 1];
  if (!isSymbol(tokens[next], '(')) {
    return false;
  }
  // `values` alone may be the name of a column, so that the name before the parenthesis is a call.
  if (isWord(body, 'values')) {
    return isSymbol(tokens[next + 2], '(');
  }
  return isWord(body, 'select') || isWord(body, 'with');
}

function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text;
}

function isWord(token: Token | undefined, text: string): boolean {
  return token?.kind === 'word' && token.text === text;
}

function quoteName(token: Token): string {
  return token.text.slice(0, 63);
}
