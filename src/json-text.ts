/**
 * Finds values in JSON text without parsing it. Parsing and printing would change payloads (large integers,
 * `1.0`, duplicate keys), so the log keeps the publisher's text and removes the white space between tokens
 * (G9). Callers pass text that `JSON.parse` accepts; for other text the functions terminate with an undefined
 * result.
 */

/** The range of a value in the text: `start` is inclusive, `end` is exclusive. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Returns true for a JSON object, and false for `null` and arrays. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Maximum nesting depth of arrays and objects in a payload. SQLite and PostgreSQL reject nesting above about
 * 1,000.
 */
export const MAX_DEPTH = 512;

const QUOTE = 34;
const BACKSLASH = 92;
const COMMA = 44;

/**
 * Returns the elements of an array. If `text` contains another value, returns that value as the one element.
 */
export function elementSpans(text: string): Span[] {
  let index = skipSpace(text, 0);
  if (text[index] !== '[') {
    return [{ start: index, end: skipValue(text, index) }];
  }
  const spans: Span[] = [];
  index = skipSpace(text, index + 1);
  while (index < text.length && text[index] !== ']') {
    const end = skipValue(text, index);
    if (end === index) {
      break;
    }
    spans.push({ start: index, end });
    index = skipSpace(text, end);
    if (text.charCodeAt(index) === COMMA) {
      index = skipSpace(text, index + 1);
    }
  }
  return spans;
}

/**
 * Returns the value of member `name` of the object that begins at `start`. For duplicate names it returns the
 * last value.
 */
export function memberSpan(text: string, start: number, name: string): Span | undefined {
  let found: Span | undefined;
  let index = skipSpace(text, start + 1);
  while (index < text.length && text.charCodeAt(index) === QUOTE) {
    const keyEnd = skipString(text, index);
    const isWanted = isKey(text.slice(index + 1, keyEnd - 1), name);
    index = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = skipValue(text, index);
    if (isWanted) {
      found = { start: index, end };
    }
    index = skipSpace(text, end);
    if (text.charCodeAt(index) !== COMMA) {
      break;
    }
    index = skipSpace(text, index + 1);
  }
  return found;
}

/** Returns the members of the object that begins at `start`, in document order, duplicates included. */
export function memberSpans(text: string, start: number): { readonly name: string; readonly value: Span }[] {
  const members: { name: string; value: Span }[] = [];
  let index = skipSpace(text, start + 1);
  while (index < text.length && text.charCodeAt(index) === QUOTE) {
    const keyEnd = skipString(text, index);
    const name = JSON.parse(text.slice(index, keyEnd)) as string;
    index = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = skipValue(text, index);
    members.push({ name, value: { start: index, end } });
    index = skipSpace(text, end);
    if (text.charCodeAt(index) !== COMMA) {
      break;
    }
    index = skipSpace(text, index + 1);
  }
  return members;
}

/** Removes the white space between tokens. */
export function compact(text: string): string {
  if (!/[\t\n\r ]/.test(text)) {
    return text;
  }
  let result = '';
  let copiedTo = 0;
  let index = 0;
  while (index < text.length) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) {
      index = skipString(text, index);
    } else if (isSpace(code)) {
      result += text.slice(copiedTo, index);
      index = skipSpace(text, index);
      copiedTo = index;
    } else {
      index += 1;
    }
  }
  return result + text.slice(copiedTo);
}

/** Returns the nesting depth of arrays and objects in `text`: 0 for a scalar. */
export function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) {
      index = skipString(text, index) - 1;
    } else if (code === 91 || code === 123) {
      deepest = Math.max(deepest, (depth += 1));
    } else if (code === 93 || code === 125) {
      depth -= 1;
    }
  }
  return deepest;
}

function isKey(raw: string, name: string): boolean {
  return raw === name || (raw.includes('\\') && JSON.parse(`"${raw}"`) === name);
}

/** Returns the end of the value that begins at `start`. */
function skipValue(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === QUOTE) {
    return skipString(text, start);
  }
  if (first !== 91 && first !== 123) {
    return skipScalar(text, start);
  }
  let depth = 0;
  for (let index = start; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) {
      index = skipString(text, index) - 1;
    } else if (code === 91 || code === 123) {
      depth += 1;
    } else if (code === 93 || code === 125) {
      depth -= 1;
      if (depth === 0) {
        return index + 1;
      }
    }
  }
  return text.length;
}

function skipScalar(text: string, start: number): number {
  let index = start;
  while (index < text.length) {
    const code = text.charCodeAt(index);
    if (code === COMMA || code === 93 || code === 125 || isSpace(code)) {
      break;
    }
    index += 1;
  }
  return index;
}

/** Returns the end of the string whose opening quote is at `start`. */
function skipString(text: string, start: number): number {
  let close = text.indexOf('"', start + 1);
  while (close !== -1) {
    let before = close - 1;
    while (text.charCodeAt(before) === BACKSLASH) {
      before -= 1;
    }
    if ((close - before) % 2 === 1) {
      return close + 1;
    }
    close = text.indexOf('"', close + 1);
  }
  return text.length;
}

function skipSpace(text: string, start: number): number {
  let index = start;
  while (index < text.length && isSpace(text.charCodeAt(index))) {
    index += 1;
  }
  return index;
}

function isSpace(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}
