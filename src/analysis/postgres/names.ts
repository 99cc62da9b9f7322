/**
 * The names that a query on PostgreSQL may use. Its rights keep it from tables; this keeps it from functions, which
 * PostgreSQL lets everybody call: whatever stands before a parenthesis must be on a list, and the catalogue's names are
 * refused wherever they stand.
 */
import { POSTGRES_BEFORE_PARENTHESIS, POSTGRES_FUNCTIONS } from '../functions.ts';
import { queryRefused, type Token } from '../statement.ts';

/** Names of the catalogue, of types that look into it, and words that tell of the server. */
const NEVER =
  /^(pg_.*|reg(class|collation|config|dictionary|namespace|oper|operator|proc|procedure|role|type)|information_schema|lo_.*|dblink.*|current_(user|role|catalog|schema|database|setting|schemas)|session_user|system_user|user|set_config|operator|tablesample)$/;

/**
 * `callable` are the functions that may be called with one argument: PostgreSQL calls them without a parenthesis too,
 * as if they were a column, `(text).f`. @throws ERR_QUERY_REFUSED
 */
export function requirePostgresNames(tokens: readonly Token[], callable: ReadonlySet<string>): void {
  tokens.forEach((token, at) => {
    if (token.kind !== 'word' && token.kind !== 'quoted') {
      return;
    }
    if (NEVER.test(token.text)) {
      throw queryRefused(`the name ${quoteName(token)} is not available to queries`);
    }
    if (isSymbol(tokens[at - 1], '.') && callable.has(token.text) && !POSTGRES_FUNCTIONS.has(token.text)) {
      throw queryRefused(
        `${quoteName(token)} behind a dot would call a function that is not available to queries: give the column another name`,
      );
    }
    if (!isSymbol(tokens[at + 1], '(')) {
      return;
    }
    if (token.kind === 'word' && POSTGRES_BEFORE_PARENTHESIS.has(token.text)) {
      return;
    }
    if (POSTGRES_FUNCTIONS.has(token.text) && !isSymbol(tokens[at - 1], '.')) {
      return;
    }
    if (namesColumns(tokens, at)) {
      return;
    }
    throw queryRefused(
      `the function ${quoteName(token)} is not available to queries (before an alias with columns write AS)`,
    );
  });
}

/** True of `name (a, b)` behind AS, and of `name (a, b) as (select …)` in a WITH: neither can be a call. */
function namesColumns(tokens: readonly Token[], at: number): boolean {
  const before = tokens[at - 1];
  if (isWord(before, 'as')) {
    return true;
  }
  if (!isWord(before, 'with') && !isWord(before, 'recursive') && !isSymbol(before, ',')) {
    return false;
  }
  let next = at + 2;
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
  // `values` alone may be the name of a column, and what stands before it a call.
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
