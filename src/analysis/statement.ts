/**
 * Reads the text of a query before a database does: is it one statement, does it begin as reading does, and which names
 * does it use? Text that the two databases would understand in different ways is refused, so that the database runs what
 * was checked here.
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

/** One statement that begins as reading does, without what follows its last token. */
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
/** One database reads `1from` as two words: a name right after a digit would not be checked. */
const WHOLE_NUMBER = /^(0[xX][0-9a-fA-F]+|(\d+\.?\d*|\.\d+)([eE]\d*)?)$/;
const SYMBOL = /[-+*/%<>=!~|&^#:;,.()[\]@]/y;

/** @throws ERR_QUERY_INVALID when the text is no SQL, ERR_QUERY_REFUSED when it has two meanings */
export function tokenize(sql: string): Token[] {
  if (sql.length > MAX_SQL_CHARACTERS) {
    throw queryInvalid(`\`sql\` may have at most ${MAX_SQL_CHARACTERS} characters, got ${sql.length}`);
  }
  if (sql.includes('\u0000')) {
    throw queryInvalid('`sql` must not contain U+0000');
  }
  const tokens: Token[] = [];
  let offset = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = offset;
    const found = pattern.exec(sql)?.[0];
    if (found !== undefined) {
      offset += found.length;
    }
    return found;
  };
  while (offset < sql.length) {
    if (take(SPACE) !== undefined) {
      continue;
    }
    const comment = take(LINE_COMMENT) ?? take(BLOCK_COMMENT);
    if (comment !== undefined) {
      // One database ends the line at a carriage return and nests comments, the other does neither.
      if (comment.startsWith('--') ? /\r(?!$)/.test(comment) : comment.slice(2).includes('/*')) {
        throw queryRefused('a comment must not contain another comment or a carriage return');
      }
      continue;
    }
    const token = sql.startsWith('/*', offset) ? undefined : takeToken(take);
    if (token === undefined) {
      throw queryInvalid(`cannot read the statement from ${JSON.stringify(sql.slice(offset, offset + 20))}`);
    }
    // U&'…' and E'…' have escapes of their own.
    if (
      token.kind === 'word' &&
      /^(['"]|&['"])/.test(sql.slice(offset, offset + 2)) &&
      /^(u|e)$/.test(token.text)
    ) {
      throw queryRefused(
        "strings and names with escapes (E'…', U&'…', U&\"…\") are not available to queries",
      );
    }
    if (token.kind === 'number' && !WHOLE_NUMBER.test(token.text)) {
      throw queryRefused(`write a space after the number in ${token.text.slice(0, 30)}`);
    }
    tokens.push({ ...token, end: offset });
  }
  return tokens;
}

function takeToken(take: (pattern: RegExp) => string | undefined): Omit<Token, 'end'> | undefined {
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
 * Reads one statement that begins with SELECT, WITH or VALUES. Semicolons at its end are removed. Whether the statement
 * really only reads is checked by the sandboxes.
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
    throw queryRefused('a query must be one statement, got a semicolon in the middle');
  }
  if (first.kind !== 'word' || !READING.includes(first.text)) {
    throw queryRefused(
      `a query must begin with SELECT, WITH or VALUES, got ${first.text.slice(0, 30).toUpperCase()}`,
    );
  }
  return { tokens, text: sql.slice(0, tokens.at(-1)?.end) };
}

/**
 * Checks that the parameters of the statement are `$1` to `$n`, without a gap, and that there are `given` values for them.
 * @throws ERR_QUERY_INVALID
 */
export function requireParameters(tokens: readonly Token[], given: number): void {
  const names = tokens.filter((token) => token.kind === 'parameter').map((token) => token.text);
  const other = names.find((text) => !/^\$[1-9]\d{0,3}$/.test(text));
  if (other !== undefined) {
    throw queryInvalid(`a parameter must be $1, $2, …, got ${other}`);
  }
  const wanted = Math.max(0, ...names.map((text) => Number(text.slice(1))));
  for (let number = 1; number <= wanted; number += 1) {
    if (!names.includes(`$${number}`)) {
      throw queryInvalid(`the statement uses $${wanted} but not $${number}`);
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
