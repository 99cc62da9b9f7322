/**
 * Receives the bodies of requests. All bodies that arrive at a time share a budget, each principal has a share of it,
 * and a body that makes no progress is ended (G7). A gateway has no other way to a body.
 */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import type { ByteBudget, Reservation } from '../delivery/byte-budget.ts';
import { LastseenError, quote } from '../errors.ts';
import { NOBODY, type Principal } from '../identity/principal.ts';
import { isJsonObject } from '../json-text.ts';
import type { Timers } from '../runtime.ts';
import { parseJson } from './body.ts';
import { collectChunks } from './chunks.ts';

/** How large a body may be, and who sends it. */
export interface BodyOptions {
  readonly maxBytes: number;
  /** Sender of the body. Without one, the body counts for the address of the client. */
  readonly principal: Principal | undefined;
}

/** Receives bodies. */
export interface Bodies {
  /** The bytes of the bodies that arrive. */
  readonly budget: ByteBudget;
  /**
   * Reads a body as text.
   * @throws ERR_TOO_LARGE, ERR_QUEUE_FULL, ERR_TIMEOUT, or ERR_BODY_MALFORMED if the body is incomplete or not UTF-8
   */
  readText(request: IncomingMessage, options: BodyOptions): Promise<string>;
  /**
   * Reads a body as a JSON object.
   * @throws as `readText` does, or ERR_REQUEST_INVALID for another value
   */
  readJsonObject(request: IncomingMessage, options: BodyOptions): Promise<Record<string, unknown>>;
  /** Stops the check for progress. */
  close(): void;
}

/** The budget, and the time without progress after which a body is ended. */
export interface BodiesOptions {
  readonly budget: ByteBudget;
  readonly stallTimeoutMs: number;
  readonly timers: Timers;
}

/** A body that arrives. */
interface Receiving {
  bytes: number;
  bytesAtCheck: number;
  checksWithoutProgress: number;
  readonly end: (error: LastseenError) => void;
}

const CHECK_MS = 1_000;

/** Creates the receiver of bodies. */
export function createBodies({ budget, stallTimeoutMs, timers }: BodiesOptions): Bodies {
  const receiving = new Set<Receiving>();
  const maxChecks = Math.max(1, Math.ceil(stallTimeoutMs / CHECK_MS));

  const stopChecks = timers.every(CHECK_MS, () => {
    for (const body of receiving) {
      body.checksWithoutProgress = body.bytes === body.bytesAtCheck ? body.checksWithoutProgress + 1 : 0;
      body.bytesAtCheck = body.bytes;
      // The first check may come at once after the start of a body, so it does not count.
      if (body.checksWithoutProgress > maxChecks) {
        const message = `the body made no progress for ${stallTimeoutMs / 1_000} s after ${body.bytes} bytes`;
        body.end(new LastseenError('ERR_TIMEOUT', message));
      }
    }
  });

  /** A body with a length reserves it before the first byte is read; any other body reserves as it grows. */
  async function readText(request: IncomingMessage, options: BodyOptions): Promise<string> {
    const { maxBytes, principal } = options;
    const declaredBytes = Number(request.headers['content-length'] ?? 0);
    if (declaredBytes > maxBytes) {
      throw tooLargeError(maxBytes);
    }
    const owner =
      principal === undefined || principal === NOBODY
        ? `address ${request.socket.remoteAddress ?? ''}`
        : principal.subject;
    const reservation = budget.reserve({ owner, bytes: declaredBytes });
    if (reservation === undefined) {
      throw fullError();
    }
    try {
      return textOf(await receive(request, maxBytes, reservation));
    } finally {
      reservation.release();
    }
  }

  function receive(request: IncomingMessage, maxBytes: number, reservation: Reservation): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const chunks = collectChunks();
      const body: Receiving = {
        bytes: 0,
        bytesAtCheck: 0,
        checksWithoutProgress: 0,
        end(error) {
          receiving.delete(body);
          request.pause();
          request.off('data', onData);
          reject(error);
        },
      };
      const onData = (chunk: Buffer): void => {
        body.bytes += chunk.length;
        const missing = body.bytes - reservation.bytes;
        if (body.bytes > maxBytes) {
          body.end(tooLargeError(maxBytes));
        } else if (missing > 0 && !reservation.grow(missing)) {
          body.end(fullError());
        } else {
          chunks.add(chunk);
        }
      };
      const onCutOff = (): void => {
        const message = 'the body is incomplete: the connection closed before its end';
        body.end(new LastseenError('ERR_BODY_MALFORMED', message));
      };
      receiving.add(body);
      request.on('data', onData);
      request.on('end', () => {
        receiving.delete(body);
        resolve(chunks.join());
      });
      request.on('aborted', onCutOff);
      request.on('error', onCutOff);
    });
  }

  return {
    budget,
    readText,
    async readJsonObject(request, options) {
      const value = parseJson(await readText(request, options));
      if (!isJsonObject(value)) {
        throw new LastseenError(
          'ERR_REQUEST_INVALID',
          `the body must be a JSON object, got ${quote(value)}`,
          {
            faults: [{ pointer: '', detail: `must be an object, got ${quote(value)}` }],
          },
        );
      }
      return value;
    },
    close: stopChecks,
  };
}

function textOf(body: Buffer): string {
  if (!isUtf8(body)) {
    throw new LastseenError('ERR_BODY_MALFORMED', 'the body must be UTF-8');
  }
  return body.toString('utf8');
}

function tooLargeError(maxBytes: number): LastseenError {
  return new LastseenError('ERR_TOO_LARGE', `the body must have at most ${maxBytes} bytes`);
}

function fullError(): LastseenError {
  return new LastseenError('ERR_QUEUE_FULL', 'the server receives too many bytes of bodies: retry later');
}
