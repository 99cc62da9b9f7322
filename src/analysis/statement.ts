/**
 * The text of a query as far as it must be understood before a database sees it: that it is one statement, that it
 * only reads, and which names it calls. Whatever the two databases would read differently is refused, so that what is
 * checked here is what runs there.
 */
import { LastseenError } from '../errors.ts';

export const MAX_SQL_CHARACTERS = 65_536;

export interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'parameter' | 'number' | 'symbol';
  /** A word in lower case; a quoted name without its quotes. */
  readonly text: string;
  /** Where it ends in the statement. */
  readonly end: number;
}

/** A statement that only reads: its text without what stands behind its last token. */
export interface Statement {
  readonly text: string;
  readonly tokens: readonly Token[];
}

const SPACE = /[ \t\n\f\r]+/y;
const LINE_COMMENT = /--[^\n]*/y;
const BLOCK_COMMENT = /\/\*[\s\S]*?\*\//y;
const WORD = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y;
const QUOTED = /"(?:[^"]|"")*"/y;
const STRING = /'(?:[^']|'')*'/y;
const PARAMETER = /\$\d+|\?\d*/y;
const NUMBER = /(?:\d|\.\d)[A-Za-z0-9_.]*/y;
/** One database would read `1from` as two words, and what hides behind a digit would not be looked at. */
const WHOLE_NUMBER = /^(0[xX][0-9a-fA-F]+|(\d+\.?\d*|\.\d+)([eE]\d*)?)$/;
const SYMBOL = /[-+*/%<>=!~|&^#:;,.()[\]@]/y;

/** @throws ERR_QUERY_INVALID where the text cannot be read, ERR_QUERY_REFUSED where it could be read in two ways */
export function tokenize(sql: string): Token[] {
  if (sql.length > MAX_SQL_CHARACTERS) {
    throw queryInvalid(`\`sql\` may have at most ${MAX_SQL_CHARACTERS} characters, got ${sql.length}`);
  }
  if (sql.includes('\u0000')) {
    throw queryInvalid('`sql` must not contain U+0000');
  }
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(sql)?.[0];
    if (found !== undefined) {
      at += found.length;
    }
    return found;
  };
  while (at < sql.length) {
    if (take(SPACE) !== undefined) {
      continue;
    }
    const comment = take(LINE_COMMENT) ?? take(BLOCK_COMMENT);
    if (comment !== undefined) {
      // One database ends a line there and nests comments, the other does neither.
      if (comment.startsWith('--') ? /\r(?!$)/.test(comment) : comment.slice(2).includes('/*')) {
        throw queryRefused(
          'a comment inside a comment, or a carriage return in one, can be read in two ways',
        );
      }
      continue;
    }
    const token = sql.startsWith('/*', at) ? undefined : tokenAt(take);
    if (token === undefined) {
      throw queryInvalid(`cannot read the statement from ${JSON.stringify(sql.slice(at, at + 20))}`);
    }
    // U&'…', E'…' and the like have escapes of their own.
    if (token.kind === 'word' && /^(['"]|&['"])/.test(sql.slice(at, at + 2)) && /^(u|e)$/.test(token.text)) {
      throw queryRefused(
        "strings and names with escapes (E'…', U&'…', U&\"…\") are not available to queries",
      );
    }
    if (token.kind === 'number' && !WHOLE_NUMBER.test(token.text)) {
      throw queryRefused(`a space is missing in ${token.text.slice(0, 30)}`);
    }
    tokens.push({ ...token, end: at });
  }
  return tokens;
}

function tokenAt(take: (pattern: RegExp) => string | undefined): Omit<Token, 'end'> | undefined {
  const parameter = take(PARAMETER);
  if (parameter !== undefined) {
    return { kind: 'parameter', text: parameter };
  }
  const word = take(WORD);
  if (word !== undefined) {
    return { kind: 'word', text: word.toLowerCase() };
  }
  const quoted = take(QUOTED);
  if (quoted !== undefined) {
    return { kind: 'quoted', text: quoted.slice(1, -1).replaceAll('""', '"') };
  }
  const string = take(STRING);
  if (string !== undefined) {
    return { kind: 'string', text: string };
  }
  const number = take(NUMBER);
  if (number !== undefined) {
    return { kind: 'number', text: number };
  }
  const symbol = take(SYMBOL);
  return symbol === undefined ? undefined : { kind: 'symbol', text: symbol };
}

const READING = ['select', 'with', 'values'];

/**
 * One statement that begins as reading does, without a semicolon at its end.
 * @throws ERR_QUERY_INVALID, ERR_QUERY_REFUSED
 */
export function requireReadStatement(sql: string): Statement {
  const tokens = tokenize(sql);
  while (tokens.at(-1)?.text === ';') {
    tokens.pop();
  }
  const [first] = tokens;
  if (first === undefined) {
    throw queryInvalid('`sql` is empty');
  }
  if (tokens.some((token) => token.kind === 'symbol' && token.text === ';')) {
    throw queryRefused('one statement at a time: there is a semicolon in the middle');
  }
  if (first.kind !== 'word' || !READING.includes(first.text)) {
    throw queryRefused(
      `a query begins with SELECT, WITH or VALUES, not with ${first.text.slice(0, 30).toUpperCase()}`,
    );
  }
  return { tokens, text: sql.slice(0, tokens.at(-1)?.end) };
}

/**
 * How many parameters the statement wants. `$1`, `$2`, … on both engines.
 * @throws ERR_QUERY_INVALID when they are of another kind, or not as many as were given
 */
export function requireParameters(tokens: readonly Token[], given: number): void {
  const named = tokens.filter((token) => token.kind === 'parameter').map((token) => token.text);
  const other = named.find((text) => !/^\$[1-9]\d{0,3}$/.test(text));
  if (other !== undefined) {
    throw queryInvalid(`a parameter is written $1, $2, …, got ${other}`);
  }
  const wanted = Math.max(0, ...named.map((text) => Number(text.slice(1))));
  for (let at = 1; at <= wanted; at += 1) {
    if (!named.includes(`$${at}`)) {
      throw queryInvalid(`the statement uses $${wanted} but not $${at}`);
    }
  }
  if (wanted !== given) {
    throw queryInvalid(`the statement has ${wanted} parameters, and \`params\` has ${given} values`);
  }
}

export function queryInvalid(message: string): LastseenError {
  return new LastseenError('ERR_QUERY_INVALID', message, {
    faults: [{ pointer: '/sql', detail: message }],
  });
}

export function queryRefused(message: string): LastseenError {
  return new LastseenError('ERR_QUERY_REFUSED', message);
}
