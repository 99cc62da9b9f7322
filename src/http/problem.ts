/** Converts errors for a client: to a problem document (RFC 9457) and to the close code of a WebSocket. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorRequestHandler } from 'express';
import type { CloseReason } from '../delivery/connection.ts';
import { type ErrorCode, LastseenError, meaningOf } from '../errors.ts';
import type { ErrorReporter } from './error-reporter.ts';

/** The close reason of each error that closes a WebSocket; `undefined`: the socket stays open. */
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

/** An error as `application/problem+json` (RFC 9457), with its status and headers. */
export interface Problem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Returns the status, title and headers of an error, for gateways with their own error format. */
export function statusOf(error: LastseenError): {
  readonly status: number;
  readonly title: string;
  readonly headers: Readonly<Record<string, string>>;
} {
  const { title } = meaningOf(error.code);
  const { status, headers } = problemOf(error);
  return { status, title, headers };
}

/** Converts an error to a problem document. `extra` adds members to the body. */
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

/**
 * Sends the error. A response that has started is cut off, so that the client detects that it is incomplete.
 */
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
  // The server does not read the rest of a refused body, so the connection cannot be reused.
  if (!request.complete) {
    response.setHeader('Connection', 'close');
  }
  response.writeHead(status, headers).end(body);
}

/** Creates the error handler of express. */
export function problemHandler(errors: ErrorReporter): ErrorRequestHandler {
  // Express recognises an error handler by its four parameters.
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  return (error: unknown, request, response, _next) => {
    answerError(errors.report(fromExpress(error)), { request, response });
  };
}

/** Errors of express, such as a malformed percent-encoding in the path, carry a 4xx status. */
function fromExpress(error: unknown): unknown {
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  if (typeof status !== 'number' || status < 400 || status > 499) {
    return error;
  }
  return new LastseenError('ERR_REQUEST_INVALID', 'the request line is malformed');
}
