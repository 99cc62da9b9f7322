/**
 * One page of GET /events, and the long poll. A page is a connection of the hub from its admission until the network
 * has accepted the answer, and its bytes are reserved before they are read (G7).
 */
import { once } from 'node:events';
import type { Response } from 'express';
import type { Reservation } from '../../delivery/byte-budget.ts';
import type { CloseReason, Connection } from '../../delivery/connection.ts';
import { createPageSession, type PageSession } from '../../delivery/page-session.ts';
import type { Place } from '../../log/place.ts';
import type { Page } from '../../log/store.ts';
import { encodePage } from './codec.ts';
import type { AnswerOptions } from './needs.ts';

/** Maximum bytes of a page. A page with one event may exceed it. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

/** Maximum time that a page waits until its bytes fit into the budget. */
const BUDGET_PATIENCE_MS = 5_000;

/**
 * The answer is written in pieces, so that the health check sees the progress of a slow client.
 */
const PIECE_BYTES = 256 * 1024;

/** Reasons that let an answer on its way arrive: the server ends it with its own shutdown. */
const ORDERLY: ReadonlySet<CloseReason> = new Set(['restarting', 'going-away']);

/**
 * Answers with a page. A long poll waits for the first event.
 * @throws ERR_TOO_MANY_CONNECTIONS, ERR_QUEUE_FULL, ERR_UNAUTHENTICATED, and the errors of a cursor
 */
export async function sendPage(options: AnswerOptions, response: Response): Promise<void> {
  const { admission, hub, log, query, principal } = options;
  const { accessId } = query;
  const reader = { subject: principal.subject, accessId };
  admission.requirePlace(reader);
  const start = await log.resolve(accessId, query.start);
  if (response.destroyed) {
    return;
  }
  admission.requirePlace(reader);
  const session = createPageSession({
    connection: answerConnection(response),
    principal,
    accessId,
    place: start,
    headAtStart: log.head.position,
    stallTimeoutMs: options.stallTimeoutMs,
    runtime: options.runtime,
  });
  response.once('close', () => {
    hub.remove(session);
  });
  hub.add(session);
  let wake: () => void = () => undefined;
  const woken = new Promise<void>((resolve) => (wake = resolve));
  // The subscription starts before the first read, so that no event is missed between the two.
  const subscription = log.subscribe(accessId, start, wake);
  try {
    let reading = await readPage(options, { start, session, response });
    if (reading?.page.events.length === 0 && query.waitSeconds > 0) {
      reading.reservation.release();
      await waitForEvents(options, session, woken);
      reading = await readPage(options, { start, session, response });
    }
    if (reading !== undefined) {
      await answer(options, { ...reading, start, session, response });
    }
  } finally {
    subscription.close();
  }
}

interface PageRequest {
  readonly start: Place;
  readonly session: PageSession;
  readonly response: Response;
}

/** A page, and the bytes that are reserved for it until the response has closed. */
interface ReservedPage {
  readonly page: Page;
  readonly reservation: Reservation;
}

/** Reads a page; `undefined` if the client has disconnected. */
async function readPage(
  { log, pageBudget, runtime, query, principal, maxPayloadBytes }: AnswerOptions,
  { start, session, response }: PageRequest,
): Promise<ReservedPage | undefined> {
  session.requireToken();
  if (isClosed(response)) {
    return undefined;
  }
  const patience = new AbortController();
  const giveUp = (): void => {
    patience.abort();
  };
  const cancel = runtime.timers.after(BUDGET_PATIENCE_MS, giveUp);
  response.once('close', giveUp);
  const bytes = Math.max(MAX_PAGE_BYTES, maxPayloadBytes);
  let reservation: Reservation;
  try {
    reservation = await pageBudget.wait({ owner: principal.subject, bytes }, patience.signal);
  } finally {
    cancel();
    response.off('close', giveUp);
  }
  response.once('close', () => {
    reservation.release();
  });
  if (isClosed(response)) {
    reservation.release();
    return undefined;
  }
  const page = await log.read(query.accessId, start, { maxEvents: query.limit, maxBytes: MAX_PAGE_BYTES });
  return { page, reservation };
}

async function answer(
  { log, query }: AnswerOptions,
  { page, reservation, start, session, response }: PageRequest & ReservedPage,
): Promise<void> {
  const { accessId } = query;
  const { events } = page;
  const place = events.at(-1) ?? start;
  const isCaughtUp = (await log.lastPlace(accessId)).position <= place.position;
  session.requireToken();
  const body = Buffer.from(encodePage({ accessId, events, place, isCaughtUp }));
  reservation.settle(body.length);
  session.countDelivered(events.length, body.length);
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.setHeader('Cache-Control', 'no-store');
  response.setHeader('Content-Length', body.length);
  for (let start = 0; start < body.length && !response.destroyed; start += PIECE_BYTES) {
    if (!response.write(body.subarray(start, start + PIECE_BYTES))) {
      await untilDrained(response);
    }
  }
  response.end();
}

function isClosed(response: Response): boolean {
  return response.destroyed;
}

async function untilDrained(response: Response): Promise<void> {
  const closed = new AbortController();
  const onClose = (): void => {
    closed.abort();
  };
  response.once('close', onClose);
  try {
    await once(response, 'drain', { signal: closed.signal });
  } catch (error) {
    if (!closed.signal.aborted) {
      throw error;
    }
  } finally {
    response.off('close', onClose);
  }
}

/**
 * Resolves when `woken` does, after the wait time of the query, when the server drains, or when the session ends: the
 * client disconnects, its token ends, the access_id is dropped, or another history replaces the log.
 */
function waitForEvents(
  { runtime, draining, query }: AnswerOptions,
  session: PageSession,
  woken: Promise<void>,
): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      cancel();
      session.signal.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = runtime.timers.after(query.waitSeconds * 1_000, finish);
    session.signal.addEventListener('abort', finish);
    void woken.then(finish);
    if (draining.aborted || session.signal.aborted) {
      finish();
    }
  });
}

/** A response as a connection of the hub. Until the answer begins it has no bytes. */
function answerConnection(response: Response): Connection {
  return {
    gateway: 'events',
    canPong: false,
    write: () => undefined,
    get bufferedBytes() {
      return response.headersSent ? response.writableLength : 0;
    },
    isFull: false,
    get flushedBytes() {
      return (response.socket?.bytesWritten ?? 0) - response.writableLength;
    },
    onDrain: () => undefined,
    ping: () => undefined,
    close(reason) {
      // An answer that has begun cannot become an error.
      if (response.headersSent && !ORDERLY.has(reason)) {
        response.destroy();
      }
    },
  };
}
