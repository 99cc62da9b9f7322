/** Errors on their way to a user: as a problem document (RFC 9457), and as the close code of a WebSocket. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorRequestHandler } from 'express';
import type { CloseReason } from '../delivery/connection.ts';
import { type ErrorCode, LastseenError, meaningOf } from '../errors.ts';
import type { ErrorReporter } from './error-reporter.ts';

/** The errors that end a WebSocket, and how; `undefined`: the socket goes on. */
const CLOSE_REASONS: Readonly<Record<ErrorCode, CloseReason | undefined>> = {
  ERR_BODY_MALFORMED: undefined,
  ERR_CHANGED_MEANWHILE: undefined,
  ERR_CLIENT_INVALID: undefined,
  ERR_CURSOR_AHEAD: 'cursor-refused',
  ERR_CURSOR_EPOCH: 'cursor-refused',
  ERR_CURSOR_MALFORMED: 'cursor-refused',
  ERR_CURSOR_TOO_OLD: 'cursor-refused',
  ERR_DRAINING: 'restarting',
  ERR_EVENT_INVALID: undefined,
  ERR_FORBIDDEN: 'not-allowed',
  ERR_GRANT_INVALID: undefined,
  ERR_ID_CONFLICT: undefined,
  ERR_INTERNAL: 'fault',
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

/** WebSocket close codes: below 4500 the client may come back as it is. */
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

/** Why an error ends a WebSocket; `undefined` when the socket may go on. */
export function closeReasonOf(error: LastseenError): CloseReason | undefined {
  return CLOSE_REASONS[error.code];
}

/** An error as `application/problem+json` (RFC 9457), with its status and headers. */
export interface Problem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Status, title and headers of an error, for rooms that have a shape of their own. */
export function statusOf(error: LastseenError): {
  readonly status: number;
  readonly title: string;
  readonly headers: Readonly<Record<string, string>>;
} {
  const { title } = meaningOf(error.code);
  const { status, headers } = problemOf(error);
  return { status, title, headers };
}

/** `extra` stands in the body beside what RFC 9457 names. */
export function problemOf(error: LastseenError, extra: Readonly<Record<string, string>> = {}): Problem {
  const { status, title } = meaningOf(error.code);
  const { retryAfterSeconds } = error;
  const body = {
    type: `urn:lastseen:problem:${error.code.slice(4).toLowerCase().replaceAll('_', '-')}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    ...(error.faults.length > 0 ? { errors: error.faults } : {}),
    ...(error.floor === undefined ? {} : { floor: error.floor }),
    ...extra,
  };
  return {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      ...(retryAfterSeconds === undefined ? {} : { 'Retry-After': String(retryAfterSeconds) }),
      ...(status === 401 ? { 'WWW-Authenticate': 'Bearer realm="lastseen"' } : {}),
    },
    body: JSON.stringify(body),
  };
}

/** Answers with the error. A response that has begun is cut, so that nobody takes it for whole. */
export function answerError(
  error: LastseenError,
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
  extra: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, headers, body } = problemOf(error, extra);
  // The rest of a refused body is not read: the connection cannot be used again.
  if (!request.complete) {
    response.setHeader('Connection', 'close');
  }
  response.writeHead(status, headers).end(body);
}

/** Express's last handler. */
export function problemHandler(errors: ErrorReporter): ErrorRequestHandler {
  // Express tells an error handler by its four parameters.
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  return (error: unknown, request, response, _next) => {
    answerError(errors.report(fromExpress(error)), { request, response });
  };
}

/** Express's own refusals (a malformed percent-encoding in the path) carry a status of 4xx. */
function fromExpress(error: unknown): unknown {
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  if (typeof status !== 'number' || status < 400 || status > 499) {
    return error;
  }
  return new LastseenError('ERR_REQUEST_INVALID', 'the request line cannot be read');
}
