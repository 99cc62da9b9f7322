/**
 * The closed list of error codes, the same on every transport. The table gives each code its HTTP status, its
 * title and its retry delay, so that a throw names the code and nothing more. A gateway with errors of its
 * own maps each code to them.
 */

/** The meaning of a code for the client that receives it. */
export interface ErrorMeaning {
  /** Status of the HTTP response. */
  readonly status: number;
  /** The `title` of the problem document (RFC 9457). */
  readonly title: string;
  /** Seconds after which the same request may succeed unchanged. Absent: a retry cannot succeed. */
  readonly retryAfterSeconds?: number;
}

/** The names are stable: releases add codes and do not rename them. */
const MEANINGS = {
  ERR_BODY_MALFORMED: { status: 400, title: 'Malformed body' },
  ERR_CHANGED_MEANWHILE: { status: 409, title: 'Concurrent change' },
  ERR_CLIENT_INVALID: { status: 401, title: 'Invalid client credentials' },
  ERR_CURSOR_AHEAD: { status: 409, title: 'The cursor is ahead of the log' },
  ERR_CURSOR_DIVERGED: { status: 409, title: 'The log no longer has the history of the cursor' },
  ERR_CURSOR_EPOCH: { status: 409, title: 'The cursor belongs to another epoch' },
  ERR_CURSOR_MALFORMED: { status: 400, title: 'The cursor is malformed' },
  ERR_CURSOR_TOO_OLD: { status: 410, title: 'The cursor is older than the retained log' },
  ERR_DRAINING: { status: 503, title: 'The server is shutting down', retryAfterSeconds: 2 },
  ERR_EVENT_INVALID: { status: 400, title: 'Invalid event' },
  ERR_FORBIDDEN: { status: 403, title: 'Forbidden' },
  ERR_GRANT_INVALID: { status: 400, title: 'Invalid grant' },
  ERR_ID_CONFLICT: { status: 409, title: 'Id or key reused with different content' },
  ERR_INTERNAL: { status: 500, title: 'Internal error' },
  ERR_LOG_REPLACED: { status: 503, title: 'Another log has replaced this one', retryAfterSeconds: 1 },
  ERR_MEDIA_TYPE: { status: 415, title: 'Unsupported media type' },
  ERR_METHOD: { status: 405, title: 'Method not allowed' },
  ERR_NOT_ACCEPTABLE: { status: 406, title: 'Not acceptable' },
  ERR_NOT_FOUND: { status: 404, title: 'Not found' },
  ERR_ORIGIN: { status: 403, title: 'Origin not allowed' },
  ERR_OUTCOME_UNKNOWN: { status: 504, title: 'Unknown outcome', retryAfterSeconds: 5 },
  ERR_QUERY_INVALID: { status: 400, title: 'Invalid query' },
  ERR_QUERY_LIMIT: { status: 422, title: 'Query limit exceeded' },
  ERR_QUERY_REFUSED: { status: 403, title: 'Query not allowed' },
  ERR_QUERY_UNAVAILABLE: { status: 501, title: 'Queries are not configured' },
  ERR_QUEUE_FULL: { status: 503, title: 'The queue is full', retryAfterSeconds: 1 },
  ERR_RATE_LIMITED: { status: 429, title: 'Too many requests', retryAfterSeconds: 1 },
  ERR_REQUEST_INVALID: { status: 400, title: 'Invalid request' },
  ERR_STORE_LOCKED: { status: 503, title: 'The store is in use', retryAfterSeconds: 5 },
  ERR_STORE_UNAVAILABLE: { status: 503, title: 'The store is unavailable', retryAfterSeconds: 2 },
  ERR_TIMEOUT: { status: 408, title: 'Timeout' },
  ERR_TOO_LARGE: { status: 413, title: 'Content too large' },
  ERR_TOO_MANY_CONNECTIONS: { status: 503, title: 'Too many connections', retryAfterSeconds: 5 },
  ERR_TOO_MANY_SUBSCRIPTIONS: { status: 400, title: 'Too many subscriptions' },
  ERR_UNAUTHENTICATED: { status: 401, title: 'A valid token is required' },
} as const satisfies Record<`ERR_${string}`, ErrorMeaning>;

/** A stable error code. Clients branch on it. */
export type ErrorCode = keyof typeof MEANINGS;

/** The codes, in alphabetical order. */
export const ERROR_CODES = Object.keys(MEANINGS) as ErrorCode[];

/** Returns the status, title and retry delay of a code. */
export function meaningOf(code: ErrorCode): ErrorMeaning {
  return MEANINGS[code];
}

/** One invalid field of the input. `pointer` is a JSON Pointer (RFC 6901) into the received document. */
export interface InputFault {
  readonly pointer: string;
  readonly detail: string;
}

/** The last cursor that the client's history and the log have in common. */
export interface CommonGround {
  readonly cursor: string;
  /** `term`: the log knows where the term of the refused cursor ended. `trail`: the newest provable cursor of the client's trail. */
  readonly by: 'term' | 'trail';
}

/** Optional parts of an error. */
export interface ErrorDetails {
  /** The invalid fields, in document order. */
  readonly faults?: readonly InputFault[];
  /** The lowest cursor that the server accepts. Set when the server refuses a cursor. */
  readonly floor?: string;
  /** Set when the server refuses a cursor of another history and knows where the two histories part. */
  readonly common?: CommonGround;
  /** Replaces the retry delay of the code. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** An expected failure. Its message is written for the user and contains no secret. */
export class LastseenError extends Error {
  override readonly name = 'LastseenError';
  readonly code: ErrorCode;
  /** Seconds after which the same request may succeed unchanged; `undefined` if a retry cannot succeed. */
  readonly retryAfterSeconds: number | undefined;
  readonly faults: readonly InputFault[];
  readonly floor: string | undefined;
  readonly common: CommonGround | undefined;

  /** True if the same request may succeed later, unchanged. */
  get temporary(): boolean {
    return this.retryAfterSeconds !== undefined;
  }

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.retryAfterSeconds = details.retryAfterSeconds ?? meaningOf(code).retryAfterSeconds;
    this.faults = details.faults ?? [];
    this.floor = details.floor;
    this.common = details.common;
  }
}

/** The members that every wire adds to the error of a refused cursor: where the reader may begin. */
export function cursorHints(error: Pick<LastseenError, 'floor' | 'common'>): {
  floor?: string;
  common?: string;
  common_by?: CommonGround['by'];
} {
  return {
    ...(error.floor === undefined ? {} : { floor: error.floor }),
    ...(error.common === undefined ? {} : { common: error.common.cursor, common_by: error.common.by }),
  };
}

/** The error for new work while the server shuts down. */
export function drainingError(): LastseenError {
  return new LastseenError('ERR_DRAINING', 'the server is shutting down: retry later');
}

/**
 * The error for an invalid field of a request. `pointer` is its JSON Pointer. The message names the field as
 * the client wrote it.
 */
export function invalidField(pointer: string, detail: string): LastseenError {
  const name = pointer === '' ? 'the message' : `\`${pointer.slice(1)}\``;
  return new LastseenError('ERR_REQUEST_INVALID', `${name} ${detail}`, { faults: [{ pointer, detail }] });
}

/**
 * Formats a value for an error message: a scalar as JSON of at most 60 characters, an array or an object as
 * its kind.
 */
export function quote(value: unknown): string {
  if (value === undefined) {
    return 'nothing';
  }
  if (typeof value === 'number') {
    return String(value);
  }
  // The text of an array or object may be large, and its nesting deeper than the stack allows.
  if (typeof value === 'object' && value !== null) {
    return Array.isArray(value) ? 'an array' : 'an object';
  }
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
