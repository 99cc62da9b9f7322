/** The event stream of GET /events: a session whose records are written to the response. */
import type { Response } from 'express';
import { type CloseReason, type Connection, HIGH_WATER_BYTES } from '../../delivery/connection.ts';
import { createSession } from '../../delivery/session.ts';
import { encodeRecords } from './codec.ts';
import type { AnswerOptions } from './needs.ts';

const COMMENT_INTERVAL_MS = 15_000;

/** Delay before a browser reconnects. */
const RETRY_MS = 2_000;

/**
 * Opens an event stream.
 * @throws ERR_DRAINING, ERR_TOO_MANY_CONNECTIONS, and the errors of a cursor
 */
export async function sendStream(options: AnswerOptions, response: Response): Promise<void> {
  const { log, hub, errors, logger, admission, runtime, query, principal } = options;
  const { accessId } = query;
  admission.requireRunning();
  const reader = { subject: principal.subject, accessId };
  admission.requirePlace(reader);
  const after = await log.resolve(accessId, query.start);
  if (response.destroyed) {
    return;
  }
  admission.requirePlace(reader);
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
    get isFull() {
      return response.writableLength >= HIGH_WATER_BYTES;
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
