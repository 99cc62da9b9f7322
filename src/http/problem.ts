/** The edge's one table: what each error code becomes as an HTTP status and as a WebSocket close code. */
import type { ErrorRequestHandler } from 'express';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CloseReason } from '../delivery/connection.ts';
import { LastseenError, type ErrorCode } from '../errors.ts';
import type { Logger } from '../logger.ts';

interface Mapping {
  readonly status: number;
  readonly title: string;
  /** For errors that end a WebSocket. */
  readonly close?: CloseReason;
  readonly retryAfterSeconds?: number;
}

const TABLE: Readonly<Record<ErrorCode, Mapping>> = {
  ERR_BODY_MALFORMED: { status: 400, title: 'The body cannot be read' },
  ERR_CHANGED_MEANWHILE: { status: 409, title: 'Changed meanwhile' },
  ERR_CLIENT_INVALID: { status: 401, title: 'The client is not known' },
  ERR_CURSOR_AHEAD: { status: 409, title: 'The cursor is ahead of the log', close: 'cursor-refused' },
  ERR_CURSOR_EPOCH: { status: 409, title: 'The cursor is of another epoch', close: 'cursor-refused' },
  ERR_CURSOR_MALFORMED: { status: 400, title: 'The cursor is malformed', close: 'cursor-refused' },
  ERR_CURSOR_TOO_OLD: { status: 410, title: 'The cursor is older than the log', close: 'cursor-refused' },
  ERR_DRAINING: { status: 503, title: 'Shutting down', close: 'restarting', retryAfterSeconds: 2 },
  ERR_EVENT_INVALID: { status: 400, title: 'An event is not valid' },
  ERR_FORBIDDEN: { status: 403, title: 'Not allowed', close: 'not-allowed' },
  ERR_GRANT_INVALID: { status: 400, title: 'The grant is not valid' },
  ERR_ID_CONFLICT: { status: 409, title: 'Repeated with other content' },
  ERR_INTERNAL: { status: 500, title: 'Our fault', close: 'fault' },
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
  ERR_RATE_LIMITED: { status: 429, title: 'Too many requests', close: 'too-many', retryAfterSeconds: 1 },
  ERR_REQUEST_INVALID: { status: 400, title: 'The request is not valid' },
  ERR_STORE_LOCKED: { status: 503, title: 'The store is in use', retryAfterSeconds: 5 },
  ERR_STORE_UNAVAILABLE: {
    status: 503,
    title: 'The store is not available',
    close: 'fault',
    retryAfterSeconds: 2,
  },
  ERR_TIMEOUT: { status: 408, title: 'Too slow', close: 'bad-first-message' },
  ERR_TOO_LARGE: { status: 413, title: 'Too large' },
  ERR_TOO_MANY_CONNECTIONS: {
    status: 503,
    title: 'Too many connections',
    close: 'too-many',
    retryAfterSeconds: 5,
  },
  ERR_TOO_MANY_SUBSCRIPTIONS: { status: 400, title: 'Too many subscriptions' },
  ERR_UNAUTHENTICATED: { status: 401, title: 'A valid token is needed', close: 'not-allowed' },
};

export const ERROR_CODES = Object.keys(TABLE) as ErrorCode[];

export function statusOfCode(code: ErrorCode): number {
  return TABLE[code].status;
}

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
  return TABLE[error.code].close;
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
  const { title } = TABLE[error.code];
  const { status, headers } = problemOf(error);
  return { status, title, headers };
}

/** `extra` stands in the body beside what RFC 9457 names. */
export function problemOf(error: LastseenError, extra: Readonly<Record<string, string>> = {}): Problem {
  const { status, title, retryAfterSeconds: usual } = TABLE[error.code];
  const retryAfterSeconds = error.retryAfterSeconds ?? usual;
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

/** How often each code was said since the process began: every error on its way to a user passes `userError`. */
const said = new Map<ErrorCode, number>();

export function errorsSaid(): ReadonlyMap<ErrorCode, number> {
  return said;
}

/** An expected error as it is; anything else is logged under an id, and the user sees the id. */
export function userError(error: unknown, logger: Logger): LastseenError {
  const known = knownError(error, logger);
  said.set(known.code, (said.get(known.code) ?? 0) + 1);
  return known;
}

function knownError(error: unknown, logger: Logger): LastseenError {
  if (error instanceof LastseenError) {
    if (error.cause !== undefined)
      logger.warn(
        { code: error.code, cause: error.cause instanceof Error ? error.cause.message : 'unknown' },
        error.message,
      );
    return error;
  }
  const id = randomUUID();
  logger.error({ id, err: error }, 'unexpected error');
  return new LastseenError(
    'ERR_INTERNAL',
    `something went wrong on our side; its id in the server's log is ${id}`,
  );
}

/** Answers with the error. A response that has begun is cut, so that nobody takes it for whole. */
export function answerError(
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  logger: Logger,
  extra: Readonly<Record<string, string>> = {},
): void {
  const known = userError(error, logger);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, headers, body } = problemOf(known, extra);
  // The rest of a refused body is not read: the connection cannot be used again.
  if (!request.complete) response.setHeader('Connection', 'close');
  response.writeHead(status, headers).end(body);
}

/** Express's last handler. */
export function problemHandler(logger: Logger): ErrorRequestHandler {
  // Express tells an error handler by its four parameters.
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  return (error: unknown, request, response, _next) => {
    answerError(fromExpress(error), request, response, logger);
  };
}

/** Express's own refusals (a malformed percent-encoding in the path) carry a status of 4xx. */
function fromExpress(error: unknown): unknown {
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  if (typeof status !== 'number' || status < 400 || status > 499) return error;
  return new LastseenError('ERR_REQUEST_INVALID', 'the request line cannot be read');
}
