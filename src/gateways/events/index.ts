/** GET /events: a page, a long poll, or an event stream, with the same cursors and verdicts (G3, G6). */
import type { Express, Request, Response } from 'express';
import type { CloseReason, Connection } from '../../delivery/connection.ts';
import type { Hub } from '../../delivery/hub.ts';
import { createSession } from '../../delivery/session.ts';
import { LastseenError } from '../../errors.ts';
import type { Guards } from '../../http/guards.ts';
import { userError } from '../../http/problem.ts';
import type { Limits } from '../../http/rate-limits.ts';
import { type Principal, requireAccess } from '../../identity/principal.ts';
import type { Log } from '../../log/log.ts';
import type { Logger } from '../../logger.ts';
import { decodeQuery, encodePage, encodeRecords, type EventsQuery } from './codec.ts';

export interface EventsOptions {
  readonly app: Express;
  readonly log: Log;
  readonly hub: Hub;
  readonly guards: Guards;
  readonly logger: Logger;
  readonly stallTimeoutMs: number;
  readonly maxConnectionsPerPrincipal: number;
  readonly limits: Limits;
  /** Aborted at drain: long polls answer what they have. */
  readonly draining: AbortSignal;
}

/** Bytes of a page; a single larger event still goes. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

const COMMENT_EVERY_MS = 15_000;

/** What a browser waits before it comes back. */
const RETRY_MS = 2_000;

export function mountEvents(options: EventsOptions): void {
  const { app, guards } = options;
  app.get('/events', async (request, response) => {
    const principal = await guards.authorize(request, 'subscribe');
    options.limits.takeRequest(principal);
    const wantsStream = request.accepts(['json', 'text/event-stream']);
    if (wantsStream === false) {
      throw new LastseenError(
        'ERR_NOT_ACCEPTABLE',
        'events are had as application/json or text/event-stream',
      );
    }
    const isStream = wantsStream === 'text/event-stream';
    const query = decodeQuery(request.query, isStream ? request.get('Last-Event-ID') : undefined);
    requireAccess(principal, query.accessId);
    await (isStream ? stream(options, query, principal, response) : page(options, query, request, response));
  });
  app.all('/events', (_request, response) => {
    response.setHeader('Allow', 'GET');
    throw new LastseenError('ERR_METHOD', 'only GET is served here');
  });
}

async function page(
  options: EventsOptions,
  query: EventsQuery,
  request: Request,
  response: Response,
): Promise<void> {
  const { log } = options;
  const { accessId } = query;
  const start = await log.resolve(accessId, query.start);
  const limit = { maxEvents: query.limit, maxBytes: MAX_PAGE_BYTES };
  let wake: () => void = () => undefined;
  const woken = new Promise<void>((resolve) => (wake = resolve));
  // Followed before the first read, so that nothing can come between the two.
  const following = log.subscribe(accessId, start, wake);
  try {
    let read = await log.read(accessId, start, limit);
    if (read.events.length === 0 && query.waitSeconds > 0) {
      await pause(query.waitSeconds * 1000, request, options.draining, woken);
      read = await log.read(accessId, read.through, limit);
    }
    const next = read.events.at(-1)?.position ?? read.through;
    const isCaughtUp = (await log.lastPosition(accessId)) <= next;
    response.setHeader('Content-Type', 'application/json; charset=utf-8');
    response.setHeader('Cache-Control', 'no-store');
    const body = Buffer.from(encodePage(accessId, read.events, next, isCaughtUp, log.cursor));
    options.hub.countDelivered('events', read.events.length, body.length);
    response.end(body);
  } finally {
    following.close();
  }
}

/** Until woken, the time is over, the client is gone, or the server drains. */
function pause(
  timeoutMs: number,
  request: Request,
  draining: AbortSignal,
  woken: Promise<void>,
): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      request.socket.off('close', end);
      draining.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, timeoutMs);
    request.socket.once('close', end);
    draining.addEventListener('abort', end);
    void woken.then(end);
    if (draining.aborted) {
      end();
    }
  });
}

async function stream(
  options: EventsOptions,
  query: EventsQuery,
  principal: Principal,
  response: Response,
): Promise<void> {
  const { log, hub, logger } = options;
  const { accessId } = query;
  if (options.draining.aborted) {
    throw new LastseenError('ERR_DRAINING', 'the server is shutting down: come back later');
  }
  if (
    hub.isFull ||
    hub.isFullFor(accessId) ||
    hub.countOf(principal.subject) >= options.maxConnectionsPerPrincipal
  ) {
    throw new LastseenError('ERR_TOO_MANY_CONNECTIONS', 'too many connections: come back later');
  }
  const position = await log.resolve(accessId, query.start);
  if (response.destroyed) {
    return;
  }
  response.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-store',
    'X-Accel-Buffering': 'no',
  });
  response.write(`retry: ${RETRY_MS}\n\n`);
  const session = createSession({
    log,
    connection: streamConnection(response),
    principal,
    heartbeat: () => undefined,
    stallTimeoutMs: options.stallTimeoutMs,
    onFault: (error) => {
      userError(error, logger);
    },
  });
  const comments = setInterval(() => {
    // A reader that takes nothing gets no comments either: nothing may pile up.
    if (response.writableLength === 0) {
      response.write(': still here\n\n');
    }
  }, COMMENT_EVERY_MS);
  response.on('close', () => {
    clearInterval(comments);
    hub.remove(session);
  });
  response.on('error', (error) => {
    logger.debug({ reason: error.message }, 'stream error');
  });
  hub.add(session);
  session.subscribe(accessId, position, {
    events: (_accessId, events) => encodeRecords(events, log.cursor),
    live: () => undefined,
  });
}

function streamConnection(response: Response): Connection {
  return {
    gateway: 'events',
    canPong: false,
    write(frame) {
      if (!response.writableEnded && !response.destroyed) {
        response.write(frame);
      }
    },
    get bufferedBytes() {
      return response.writableLength;
    },
    get flushedBytes() {
      return (response.socket?.bytesWritten ?? 0) - response.writableLength;
    },
    onDrain(listener) {
      response.on('drain', listener);
    },
    ping: () => undefined,
    close(reason: CloseReason) {
      // What is stuck would never end politely.
      if (reason === 'stalled') {
        response.destroy();
      } else {
        response.end();
      }
    },
  };
}
