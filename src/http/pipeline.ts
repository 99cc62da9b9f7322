/**
 * Handles the requests of one HTTP connection one after the other. HTTP/1.1 lets a client send requests before it has
 * read the answers; Node handles all of them at once. Here a request waits until the network has accepted the answer
 * before it, and the server reads nothing more from the connection meanwhile (G7).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Handles a request. */
export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

/** The requests of one connection. */
interface Line {
  isBusy: boolean;
  /** Requests that arrived in the same read of the network as the one under way. */
  waiting: (readonly [IncomingMessage, ServerResponse])[];
}

/**
 * Maximum number of waiting requests. One read of the network has at most 64 KiB, which is fewer requests than this.
 */
const MAX_WAITING = 5_000;

/** Wraps a listener: it starts to handle a request when the answers before it are on the network. */
export function oneAtATime(handle: RequestListener): RequestListener {
  const lines = new WeakMap<Socket, Line>();

  function start(line: Line, request: IncomingMessage, response: ServerResponse): void {
    line.isBusy = true;
    response.once('close', () => {
      line.isBusy = false;
      startNext(line, request.socket);
    });
    handle(request, response);
  }

  function startNext(line: Line, socket: Socket): void {
    const next = line.waiting.shift();
    if (socket.destroyed) {
      line.waiting = [];
      return;
    }
    if (line.waiting.length === 0 && socket.isPaused()) {
      socket.resume();
    }
    if (next !== undefined) {
      start(line, ...next);
    }
  }

  return (request, response) => {
    const { socket } = request;
    let line = lines.get(socket);
    if (line === undefined) {
      line = { isBusy: false, waiting: [] };
      lines.set(socket, line);
    }
    if (!line.isBusy) {
      start(line, request, response);
    } else if (line.waiting.length < MAX_WAITING) {
      line.waiting.push([request, response]);
      socket.pause();
    } else {
      socket.destroy();
    }
  };
}
