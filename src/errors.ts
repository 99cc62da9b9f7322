/**
 * Every failure a user can see. The codes are one closed list, the same on every transport; what they become
 * there (a status, a close code) is decided at the edge, in one table.
 */

/** What went wrong, to branch on. Stable: codes are added, never renamed. */
export type ErrorCode =
  | 'ERR_BODY_MALFORMED'
  | 'ERR_CHANGED_MEANWHILE'
  | 'ERR_CLIENT_INVALID'
  | 'ERR_CURSOR_AHEAD'
  | 'ERR_CURSOR_EPOCH'
  | 'ERR_CURSOR_MALFORMED'
  | 'ERR_CURSOR_TOO_OLD'
  | 'ERR_DRAINING'
  | 'ERR_EVENT_INVALID'
  | 'ERR_FORBIDDEN'
  | 'ERR_GRANT_INVALID'
  | 'ERR_ID_CONFLICT'
  | 'ERR_INTERNAL'
  | 'ERR_MEDIA_TYPE'
  | 'ERR_METHOD'
  | 'ERR_NOT_ACCEPTABLE'
  | 'ERR_NOT_FOUND'
  | 'ERR_ORIGIN'
  | 'ERR_OUTCOME_UNKNOWN'
  | 'ERR_QUERY_INVALID'
  | 'ERR_QUERY_LIMIT'
  | 'ERR_QUERY_REFUSED'
  | 'ERR_QUERY_UNAVAILABLE'
  | 'ERR_QUEUE_FULL'
  | 'ERR_RATE_LIMITED'
  | 'ERR_REQUEST_INVALID'
  | 'ERR_STORE_LOCKED'
  | 'ERR_STORE_UNAVAILABLE'
  | 'ERR_TIMEOUT'
  | 'ERR_TOO_LARGE'
  | 'ERR_TOO_MANY_CONNECTIONS'
  | 'ERR_TOO_MANY_SUBSCRIPTIONS'
  | 'ERR_UNAUTHENTICATED';

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
  /** True when the same request may succeed later, unchanged. Default false. */
  readonly temporary?: boolean;
  /** When it may, if that is known. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** An expected failure: its message is written for the user and holds no secret. */
export class LastseenError extends Error {
  override readonly name = 'LastseenError';
  readonly code: ErrorCode;
  readonly temporary: boolean;
  readonly faults: readonly InputFault[];
  readonly floor: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.temporary = details.temporary ?? false;
    this.faults = details.faults ?? [];
    this.floor = details.floor;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

/** A value as an error message shows it: a scalar as JSON, at most 60 characters; of an array or object its kind. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  // Not its text: it may be large, and nested deeper than the stack can follow.
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
