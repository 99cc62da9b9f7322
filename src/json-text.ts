/**
 * JSON as text. Parsing and printing again would change payloads (big integers, `1.0`, duplicate keys), so the
 * log keeps the sender's own text and only drops white space between tokens (G9). These functions find values in
 * text that `JSON.parse` has already accepted; on other text their result means nothing, but they always end.
 */

/** Where a value stands: from `start` up to, not including, `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** True for a JSON object: neither `null` nor an array. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Deepest nesting of arrays and objects in a payload: SQLite and PostgreSQL give up not far above 1,000. */
export const MAX_DEPTH = 512;

const QUOTE = 34;
const BACKSLASH = 92;
const COMMA = 44;

/** The elements of the array that `text` is, or the text itself when it is no array. */
export function elementSpans(text: string): Span[] {
  let at = skipSpace(text, 0);
  if (text[at] !== '[') {
    return [{ start: at, end: skipValue(text, at) }];
  }
  const spans: Span[] = [];
  at = skipSpace(text, at + 1);
  while (at < text.length && text[at] !== ']') {
    const end = skipValue(text, at);
    if (end === at) {
      break;
    }
    spans.push({ start: at, end });
    at = skipSpace(text, end);
    if (text.charCodeAt(at) === COMMA) {
      at = skipSpace(text, at + 1);
    }
  }
  return spans;
}

/** The value of member `name` of the object that begins at `start`; the last one if the name stands twice. */
export function memberSpan(text: string, start: number, name: string): Span | undefined {
  let found: Span | undefined;
  let at = skipSpace(text, start + 1);
  while (at < text.length && text.charCodeAt(at) === QUOTE) {
    const keyEnd = skipString(text, at);
    const isWanted = keyIs(text, at, keyEnd, name);
    at = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = skipValue(text, at);
    if (isWanted) {
      found = { start: at, end };
    }
    at = skipSpace(text, end);
    if (text.charCodeAt(at) !== COMMA) {
      break;
    }
    at = skipSpace(text, at + 1);
  }
  return found;
}

/** All members of the object that begins at `start`, in their order; a name that stands twice comes twice. */
export function memberSpans(text: string, start: number): { readonly name: string; readonly value: Span }[] {
  const members: { name: string; value: Span }[] = [];
  let at = skipSpace(text, start + 1);
  while (at < text.length && text.charCodeAt(at) === QUOTE) {
    const keyEnd = skipString(text, at);
    const name = JSON.parse(text.slice(at, keyEnd)) as string;
    at = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = skipValue(text, at);
    members.push({ name, value: { start: at, end } });
    at = skipSpace(text, end);
    if (text.charCodeAt(at) !== COMMA) {
      break;
    }
    at = skipSpace(text, at + 1);
  }
  return members;
}

/** The text of a value without the white space between its tokens. */
export function compact(text: string): string {
  if (!/[\t\n\r ]/.test(text)) {
    return text;
  }
  let out = '';
  let from = 0;
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = skipString(text, at);
    } else if (isSpace(code)) {
      out += text.slice(from, at);
      at = skipSpace(text, at);
      from = at;
    } else {
      at += 1;
    }
  }
  return out + text.slice(from);
}

/** How deep arrays and objects nest in `text`: 0 for a scalar. */
export function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = skipString(text, at) - 1;
    } else if (code === 91 || code === 123) {
      deepest = Math.max(deepest, (depth += 1));
    } else if (code === 93 || code === 125) {
      depth -= 1;
    }
  }
  return deepest;
}

function keyIs(text: string, start: number, end: number, name: string): boolean {
  const raw = text.slice(start + 1, end - 1);
  return raw === name || (raw.includes('\\') && JSON.parse(`"${raw}"`) === name);
}

/** The end of the value that begins at `at`. */
function skipValue(text: string, at: number): number {
  const first = text.charCodeAt(at);
  if (first === QUOTE) {
    return skipString(text, at);
  }
  if (first !== 91 && first !== 123) {
    return skipScalar(text, at);
  }
  let depth = 0;
  for (let i = at; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) {
      i = skipString(text, i) - 1;
    } else if (code === 91 || code === 123) {
      depth += 1;
    } else if (code === 93 || code === 125) {
      depth -= 1;
      if (depth === 0) {
        return i + 1;
      }
    }
  }
  return text.length;
}

function skipScalar(text: string, at: number): number {
  let i = at;
  while (i < text.length) {
    const code = text.charCodeAt(i);
    if (code === COMMA || code === 93 || code === 125 || isSpace(code)) {
      break;
    }
    i += 1;
  }
  return i;
}

/** The end of the string whose opening quote is at `at`. */
function skipString(text: string, at: number): number {
  let close = text.indexOf('"', at + 1);
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

function skipSpace(text: string, at: number): number {
  let i = at;
  while (i < text.length && isSpace(text.charCodeAt(i))) {
    i += 1;
  }
  return i;
}

function isSpace(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}
