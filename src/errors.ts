/**
 * Every failure a user can see: one closed list of codes, the same on every transport, with what each means for whoever
 * receives it. Rooms with a protocol of their own map a code to their own answer; nothing else is decided at a throw.
 */

/** What a code means to whoever receives it. */
export interface ErrorMeaning {
  /** Status of an HTTP answer. */
  readonly status: number;
  /** The code in words: the `title` of a problem document (RFC 9457). */
  readonly title: string;
  /** Seconds to wait before the same request may succeed unchanged. Without it, repeating the request is of no use. */
  readonly retryAfterSeconds?: number;
}

/** Stable: codes are added, never renamed. */
const MEANINGS = {
  ERR_BODY_MALFORMED: { status: 400, title: 'The body cannot be read' },
  ERR_CHANGED_MEANWHILE: { status: 409, title: 'Changed meanwhile' },
  ERR_CLIENT_INVALID: { status: 401, title: 'The client is not known' },
  ERR_CURSOR_AHEAD: { status: 409, title: 'The cursor is ahead of the log' },
  ERR_CURSOR_EPOCH: { status: 409, title: 'The cursor is of another epoch' },
  ERR_CURSOR_MALFORMED: { status: 400, title: 'The cursor is malformed' },
  ERR_CURSOR_TOO_OLD: { status: 410, title: 'The cursor is older than the log' },
  ERR_DRAINING: { status: 503, title: 'Shutting down', retryAfterSeconds: 2 },
  ERR_EVENT_INVALID: { status: 400, title: 'An event is not valid' },
  ERR_FORBIDDEN: { status: 403, title: 'Not allowed' },
  ERR_GRANT_INVALID: { status: 400, title: 'The grant is not valid' },
  ERR_ID_CONFLICT: { status: 409, title: 'Repeated with other content' },
  ERR_INTERNAL: { status: 500, title: 'Our fault' },
  ERR_MEDIA_TYPE: { status: 415, title: 'Wrong type of content' },
  ERR_METHOD: { status: 405, title: 'Wrong method' },
  ERR_NOT_ACCEPTABLE: { status: 406, title: 'No such representation' },
  ERR_NOT_FOUND: { status: 404, title: 'No such resource' },
  ERR_ORIGIN: { status: 403, title: 'Origin not allowed' },
  ERR_OUTCOME_UNKNOWN: { status: 504, title: 'The outcome is not known', retryAfterSeconds: 5 },
  ERR_QUERY_INVALID: { status: 400, title: 'The query is not valid' },
  ERR_QUERY_LIMIT: { status: 422, title: 'The query asks for too much' },
  ERR_QUERY_REFUSED: { status: 403, title: 'The query is not allowed' },
  ERR_QUERY_UNAVAILABLE: { status: 501, title: 'Queries are not set up' },
  ERR_QUEUE_FULL: { status: 503, title: 'The queue is full', retryAfterSeconds: 1 },
  ERR_RATE_LIMITED: { status: 429, title: 'Too many requests', retryAfterSeconds: 1 },
  ERR_REQUEST_INVALID: { status: 400, title: 'The request is not valid' },
  ERR_STORE_LOCKED: { status: 503, title: 'The store is in use', retryAfterSeconds: 5 },
  ERR_STORE_UNAVAILABLE: { status: 503, title: 'The store is not available', retryAfterSeconds: 2 },
  ERR_TIMEOUT: { status: 408, title: 'Too slow' },
  ERR_TOO_LARGE: { status: 413, title: 'Too large' },
  ERR_TOO_MANY_CONNECTIONS: { status: 503, title: 'Too many connections', retryAfterSeconds: 5 },
  ERR_TOO_MANY_SUBSCRIPTIONS: { status: 400, title: 'Too many subscriptions' },
  ERR_UNAUTHENTICATED: { status: 401, title: 'A valid token is needed' },
} as const satisfies Record<`ERR_${string}`, ErrorMeaning>;

/** What went wrong, to branch on. */
export type ErrorCode = keyof typeof MEANINGS;

/** All codes, in alphabetical order. */
export const ERROR_CODES = Object.keys(MEANINGS) as ErrorCode[];

export function meaningOf(code: ErrorCode): ErrorMeaning {
  return MEANINGS[code];
}

/** One place in the input that was wrong. `pointer` is a JSON Pointer (RFC 6901) into what was sent. */
export interface InputFault {
  readonly pointer: string;
  readonly detail: string;
}

/** What an error may carry beside its code and message. */
export interface ErrorDetails {
  /** The faults of the input, first one first. */
  readonly faults?: readonly InputFault[];
  /** For a refused cursor: the lowest cursor that would work. */
  readonly floor?: string;
  /** Where it is known better than the code's own. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** An expected failure: its message is written for the user and holds no secret. */
export class LastseenError extends Error {
  override readonly name = 'LastseenError';
  readonly code: ErrorCode;
  /** Seconds to wait before the same request may succeed unchanged; `undefined` if waiting is of no use. */
  readonly retryAfterSeconds: number | undefined;
  readonly faults: readonly InputFault[];
  readonly floor: string | undefined;

  /** True when the same request may succeed later, unchanged. */
  get temporary(): boolean {
    return this.retryAfterSeconds !== undefined;
  }

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.retryAfterSeconds = details.retryAfterSeconds ?? meaningOf(code).retryAfterSeconds;
    this.faults = details.faults ?? [];
    this.floor = details.floor;
  }
}

/** The refusal of new work while the service shuts down. */
export function drainingError(): LastseenError {
  return new LastseenError('ERR_DRAINING', 'the server is shutting down: try again later');
}

/** A field of a request is wrong. `pointer` is its JSON Pointer; the message names the field as the user wrote it. */
export function invalidField(pointer: string, detail: string): LastseenError {
  const name = pointer === '' ? 'the message' : `\`${pointer.slice(1)}\``;
  return new LastseenError('ERR_REQUEST_INVALID', `${name} ${detail}`, { faults: [{ pointer, detail }] });
}

/** A value as an error message shows it: a scalar as JSON, at most 60 characters; of an array or object its kind. */
export function quote(value: unknown): string {
  if (value === undefined) {
    return 'nothing';
  }
  if (typeof value === 'number') {
    return String(value);
  }
  // Not its text: it may be large, and nested deeper than the stack can follow.
  if (typeof value === 'object' && value !== null) {
    return Array.isArray(value) ? 'an array' : 'an object';
  }
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
