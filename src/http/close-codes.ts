/** The close code of a WebSocket, by the reason for the close and by the error that causes it. */
import type { CloseReason } from '../delivery/connection.ts';
import type { ErrorCode, LastseenError } from '../errors.ts';

/** The close reason of each error that closes a WebSocket; `undefined`: the socket stays open. */
const CLOSE_REASONS: Readonly<Record<ErrorCode, CloseReason | undefined>> = {
  ERR_BODY_MALFORMED: undefined,
  ERR_CHANGED_MEANWHILE: undefined,
  ERR_CLIENT_INVALID: undefined,
  ERR_CURSOR_AHEAD: 'cursor-refused',
  ERR_CURSOR_DIVERGED: 'cursor-refused',
  ERR_CURSOR_EPOCH: 'cursor-refused',
  ERR_CURSOR_MALFORMED: 'cursor-refused',
  ERR_CURSOR_TOO_OLD: 'cursor-refused',
  ERR_DRAINING: 'restarting',
  ERR_EVENT_INVALID: undefined,
  ERR_FORBIDDEN: 'not-allowed',
  ERR_GRANT_INVALID: undefined,
  ERR_ID_CONFLICT: undefined,
  ERR_INTERNAL: 'fault',
  ERR_LOG_REPLACED: 'restarting',
  ERR_MEDIA_TYPE: undefined,
  ERR_METHOD: undefined,
  ERR_NOT_ACCEPTABLE: undefined,
  ERR_NOT_FOUND: undefined,
  ERR_ORIGIN: undefined,
  ERR_OUTCOME_UNKNOWN: undefined,
  ERR_QUERY_INVALID: undefined,
  ERR_QUERY_LIMIT: undefined,
  ERR_QUERY_REFUSED: undefined,
  ERR_QUERY_UNAVAILABLE: undefined,
  ERR_QUEUE_FULL: undefined,
  ERR_RATE_LIMITED: 'too-many',
  ERR_REQUEST_INVALID: undefined,
  ERR_STORE_LOCKED: undefined,
  ERR_STORE_UNAVAILABLE: 'fault',
  ERR_TIMEOUT: 'bad-first-message',
  ERR_TOO_LARGE: undefined,
  ERR_TOO_MANY_CONNECTIONS: 'too-many',
  ERR_TOO_MANY_SUBSCRIPTIONS: undefined,
  ERR_UNAUTHENTICATED: 'not-allowed',
};

/** WebSocket close codes. After a code below 4500, a client may reconnect unchanged. */
export const CLOSE_CODES: Readonly<Record<CloseReason, readonly [code: number, text: string]>> = {
  dropped: [1000, 'close'],
  'going-away': [1001, 'going away'],
  restarting: [1012, 'restarting'],
  'bad-first-message': [1008, 'bad first message'],
  fault: [1011, 'our fault'],
  'too-many': [1013, 'too many connections'],
  'no-pong': [4002, 'no pong'],
  stalled: [4003, 'stalled'],
  'cursor-refused': [4501, 'cursor refused'],
  'not-allowed': [4502, 'not allowed'],
  'token-expired': [4001, 'token expired'],
  'token-revoked': [4500, 'token revoked'],
};

/** Returns the close reason of an error; `undefined` if the socket stays open. */
export function closeReasonOf(error: LastseenError): CloseReason | undefined {
  return CLOSE_REASONS[error.code];
}
