/**
 * GET /events: a page, a long poll, or an event stream. The three forms share cursors and errors (G3, G6).
 */
import type { Request, Response } from 'express';
import type { CloseReason, Connection } from '../../delivery/connection.ts';
import { createSession } from '../../delivery/session.ts';
import { deliverySettings } from '../../delivery/settings.ts';
import { negotiate } from '../../http/routes.ts';
import { type Principal, requireAccess } from '../../identity/principal.ts';
import { defineGateway, type PortsOf } from '../gateway.ts';
import { decodeQuery, encodePage, encodeRecords, type EventsQuery } from './codec.ts';
import { eventsDescription } from './description.ts';

const { LASTSEEN_STALL_SECONDS } = deliverySettings;

const needs = {
  ports: ['routes', 'guards', 'limits', 'admission', 'log', 'hub', 'errors', 'logger', 'runtime', 'draining'],
  settings: { LASTSEEN_STALL_SECONDS },
} as const;

type EventsPorts = PortsOf<typeof needs>;

/** Maximum bytes of a page. A page with one event may exceed it. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

const COMMENT_INTERVAL_MS = 15_000;

/** Delay before a browser reconnects. */
const RETRY_MS = 2_000;

/** The events gateway. */
export const events = defineGateway({
  name: 'events',
  description: eventsDescription,
  needs,
  mount(ports) {
    ports.routes.serve(eventsDescription, {
      async 'GET /events'(request, response) {
        const principal = await ports.guards.authorize(request, 'subscribe');
        ports.limits.countRequest(principal);
        const isStream =
          negotiate(request, ['application/json', 'text/event-stream']) === 'text/event-stream';
        const query = decodeQuery(request.query, isStream ? request.get('Last-Event-ID') : undefined);
        requireAccess(principal, query.accessId);
        const options = { ...ports, query, principal };
        await (isStream ? sendStream(options, response) : sendPage(options, request, response));
      },
    });
    return undefined;
  },
});

interface AnswerOptions extends EventsPorts {
  readonly query: EventsQuery;
  readonly principal: Principal;
}

async function sendPage(options: AnswerOptions, request: Request, response: Response): Promise<void> {
  const { log, hub, query } = options;
  const { accessId } = query;
  const start = await log.resolve(accessId, query.start);
  const limit = { maxEvents: query.limit, maxBytes: MAX_PAGE_BYTES };
  let wake: () => void = () => undefined;
  const woken = new Promise<void>((resolve) => (wake = resolve));
  // The subscription starts before the first read, so that no event is missed between the two.
  const subscription = log.subscribe(accessId, start, wake);
  try {
    let page = await log.read(accessId, start, limit);
    if (page.events.length === 0 && query.waitSeconds > 0) {
      await waitForEvents(options, request, woken);
      page = await log.read(accessId, start, limit);
    }
    const place = page.events.at(-1) ?? start;
    const isCaughtUp = (await log.lastPlace(accessId)).position <= place.position;
    response.setHeader('Content-Type', 'application/json; charset=utf-8');
    response.setHeader('Cache-Control', 'no-store');
    const body = Buffer.from(encodePage({ accessId, events: page.events, place, isCaughtUp }));
    hub.countDelivered('events', page.events.length, body.length);
    response.end(body);
  } finally {
    subscription.close();
  }
}

/**
 * Resolves when `woken` does, after the wait time of the query, when the client disconnects, when the server
 * drains, or when another history replaces the log.
 */
function waitForEvents(
  { log, runtime, draining, query }: AnswerOptions,
  request: Request,
  woken: Promise<void>,
): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      cancel();
      stopEnd();
      request.socket.off('close', finish);
      draining.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = runtime.timers.after(query.waitSeconds * 1_000, finish);
    const stopEnd = log.onEnd(finish);
    request.socket.once('close', finish);
    draining.addEventListener('abort', finish);
    void woken.then(finish);
    if (draining.aborted) {
      finish();
    }
  });
}

async function sendStream(options: AnswerOptions, response: Response): Promise<void> {
  const { log, hub, errors, logger, admission, runtime, query, principal } = options;
  const { accessId } = query;
  admission.requireRunning();
  admission.requireCapacity();
  admission.requireReader(accessId);
  admission.requirePrincipal(principal.subject);
  const after = await log.resolve(accessId, query.start);
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
    runtime,
    heartbeat: () => undefined,
    stallTimeoutMs: options.stallTimeoutMs,
    onFault: (error) => {
      errors.report(error);
    },
  });
  const stopComments = runtime.timers.every(COMMENT_INTERVAL_MS, () => {
    // The server sends no comments to a reader that accepts no bytes, so that the buffer does not grow.
    if (response.writableLength === 0) {
      response.write(': still here\n\n');
    }
  });
  response.on('close', () => {
    stopComments();
    hub.remove(session);
  });
  response.on('error', (error) => {
    logger.debug({ reason: error.message }, 'stream error');
  });
  hub.add(session);
  session.subscribe({
    accessId,
    after,
    encoder: { events: encodeRecords, live: () => undefined },
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
      // A stalled response does not end in an orderly way, so the socket is destroyed.
      if (reason === 'stalled') {
        response.destroy();
      } else {
        response.end();
      }
    },
  };
}
