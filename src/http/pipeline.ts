/**
 * Handles the requests of one HTTP connection one after the other. HTTP/1.1 lets a client send requests before it has
 * read the answers; Node handles all of them at once. Here a request waits until the network has accepted the answer
 * before it, and the server reads nothing more from the connection meanwhile. The requests that wait share a budget,
 * and a connection whose client accepts no byte of an answer is closed (G7).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ByteBudget, Reservation } from '../delivery/byte-budget.ts';
import type { Timers } from '../runtime.ts';

/** Handles a request. */
export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

/** The requests of all connections. */
export interface Pipeline {
  /** Wraps a listener: it starts to handle a request when the answers before it are on the network. */
  oneAtATime(handle: RequestListener): RequestListener;
  /** Stops the check for answers that nobody reads. */
  close(): void;
}

/** The budget, and the time without progress after which an answer is ended. */
export interface PipelineOptions {
  /** The bytes of the requests that wait. */
  readonly budget: ByteBudget;
  readonly stallTimeoutMs: number;
  readonly timers: Timers;
}

interface Waiting {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly reservation: Reservation;
}

/** The requests of one connection. */
interface Line {
  readonly socket: Socket;
  isBusy: boolean;
  /** Requests that arrived in the same read of the network as the one under way. */
  readonly waiting: Waiting[];
  /** Bytes that the network had accepted at the last check. */
  flushedBytes: number;
  checksWithoutProgress: number;
}

/** Memory of a request and its response in Node. 5.7 KB were measured on Node 24 for a request of 25 bytes. */
const REQUEST_BYTES = 6 * 1024;

const CHECK_MS = 1_000;

/** Creates the pipeline of a server. */
export function createPipeline({ budget, stallTimeoutMs, timers }: PipelineOptions): Pipeline {
  const lines = new WeakMap<Socket, Line>();
  const busyLines = new Set<Line>();
  const maxChecks = Math.max(1, Math.ceil(stallTimeoutMs / CHECK_MS));

  const stopChecks = timers.every(CHECK_MS, () => {
    for (const line of busyLines) {
      const { socket } = line;
      const flushedBytes = socket.bytesWritten - socket.writableLength;
      const isStalled = socket.writableLength > 0 && flushedBytes === line.flushedBytes;
      line.flushedBytes = flushedBytes;
      line.checksWithoutProgress = isStalled ? line.checksWithoutProgress + 1 : 0;
      if (line.checksWithoutProgress > maxChecks) {
        socket.destroy();
      }
    }
  });

  function lineOf(socket: Socket): Line {
    let line = lines.get(socket);
    if (line === undefined) {
      line = { socket, isBusy: false, waiting: [], flushedBytes: 0, checksWithoutProgress: 0 };
      lines.set(socket, line);
    }
    return line;
  }

  function enqueue(line: Line, request: IncomingMessage, response: ServerResponse): void {
    const { socket, waiting } = line;
    const owner = socket.remoteAddress ?? '';
    const reservation = socket.destroyed
      ? undefined
      : budget.reserve({ owner, bytes: REQUEST_BYTES + headBytes(request) });
    if (reservation === undefined) {
      socket.destroy();
      return;
    }
    if (waiting.length === 0) {
      hold(socket);
      socket.once('close', () => {
        for (const { reservation: unused } of waiting) {
          unused.release();
        }
        waiting.length = 0;
      });
    }
    waiting.push({ request, response, reservation });
  }

  return {
    oneAtATime(handle) {
      function start(line: Line, request: IncomingMessage, response: ServerResponse): void {
        line.isBusy = true;
        busyLines.add(line);
        response.on('close', finish);
        handle(request, response);
      }

      /** One listener for all responses: a closure for each would cost every request. */
      function finish(this: ServerResponse): void {
        const line = lineOf(this.req.socket);
        line.isBusy = false;
        busyLines.delete(line);
        startNext(line);
      }

      function startNext(line: Line): void {
        const next = line.waiting.shift();
        if (next === undefined) {
          return;
        }
        next.reservation.release();
        if (line.waiting.length === 0) {
          letGo(line.socket);
        }
        if (!line.socket.destroyed) {
          start(line, next.request, next.response);
        }
      }

      return (request, response) => {
        const line = lineOf(request.socket);
        if (line.isBusy) {
          enqueue(line, request, response);
        } else {
          start(line, request, response);
        }
      };
    },
    close: stopChecks,
  };
}

/**
 * Pauses the socket until `letGo`. Node resumes the socket of a server at the end of each message, and `pause` alone
 * would have no effect on the requests of one read.
 */
function hold(socket: Socket): void {
  socket.pause();
  socket.resume = () => socket;
}

function letGo(socket: Socket): void {
  // The own property hides the method of the prototype.
  Reflect.deleteProperty(socket, 'resume');
  socket.resume();
}

function headBytes({ url = '', rawHeaders }: IncomingMessage): number {
  return rawHeaders.reduce((bytes, text) => bytes + text.length, url.length);
}
