/** Converts errors to problem documents (RFC 9457). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorRequestHandler } from 'express';
import { cursorHints, LastseenError, meaningOf } from '../errors.ts';
import type { ErrorReporter } from './error-reporter.ts';

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
    ...cursorHints(error),
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
  if (!request.complete && hasBody(request)) {
    response.setHeader('Connection', 'close');
  }
  response.writeHead(status, headers).end(body);
}

/** A request without a body is handled before Node marks it as complete. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
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
