/**
 * WebSockets, fenced in one room. express-ws accepts an upgrade before it routes it and catches no rejection, so
 * refusals happen in `verifyClient` with a real status, handlers are attached synchronously, and whatever one throws
 * ends its own socket only (G8). Compression is off: it costs some 200 KB a connection.
 */
import type { Express } from 'express';
import expressWs from 'express-ws';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { CloseReason, Connection } from '../delivery/connection.ts';
import type { Hub } from '../delivery/hub.ts';
import type { Principal } from '../identity/principal.ts';
import { LastseenError } from '../log/errors.ts';
import type { Logger } from '../logger.ts';
import type { Guards } from './guards.ts';
import { CLOSE_CODES, problemOf, userError } from './problem.ts';
import { ignoreOtherUpgrades } from './upgrade.ts';

/** Bytes of a message from a client. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

/** A peer that does not answer a close is cut after so long. */
const CLOSE_TIMEOUT_MS = 5_000;

/** What a gateway gets for each accepted socket. `principal` is missing while no token has come. */
export interface AcceptedSocket {
  readonly socket: WebSocket;
  readonly connection: Connection;
  readonly principal: Principal | undefined;
}

export interface Sockets {
  /** Serves `path`. The handler attaches its listeners before it returns. */
  route(path: string, gateway: string, handle: (accepted: AcceptedSocket) => void): void;
  /** Closes every socket, authenticated or not. */
  closeAll(reason: CloseReason): void;
}

export interface SocketOptions {
  readonly app: Express;
  readonly server: Server;
  readonly guards: Guards;
  readonly hub: Hub;
  readonly maxConnections: number;
  readonly isDraining: () => boolean;
  readonly logger: Logger;
}

export function createSockets(options: SocketOptions): Sockets {
  const { guards, logger } = options;
  const paths = new Set<string>();
  const principals = new WeakMap<IncomingMessage, Principal>();

  async function admit(request: IncomingMessage): Promise<void> {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    if (!paths.has(path)) throw new LastseenError('ERR_NOT_FOUND', 'no socket is served here');
    if (options.isDraining())
      throw new LastseenError('ERR_DRAINING', 'the server is shutting down: come back later', {
        temporary: true,
      });
    guards.checkOrigin(request);
    const principal = await guards.fromUpgrade(request);
    if (options.hub.isFull || wss.clients.size >= options.maxConnections) {
      throw new LastseenError('ERR_TOO_MANY_CONNECTIONS', 'too many connections: come back later', {
        temporary: true,
      });
    }
    if (principal !== undefined) principals.set(request, principal);
  }

  const { app, getWss } = expressWs(options.app, options.server, {
    leaveRouterUntouched: true,
    wsOptions: {
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
      clientTracking: true,
      handleProtocols: (offered) => (offered.has('lastseen') ? 'lastseen' : false),
      verifyClient: ({ req }, done) => {
        admit(req).then(
          () => {
            done(true);
          },
          (error: unknown) => {
            const problem = problemOf(userError(error, logger));
            done(false, problem.status, problem.body, problem.headers);
          },
        );
      },
    },
  });
  const wss = getWss();
  wss.on('wsClientError', (error, socket) => {
    const { status, headers, body } = problemOf(
      new LastseenError('ERR_REQUEST_INVALID', `this is no WebSocket handshake (RFC 6455): ${error.message}`),
    );
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    socket.once('finish', () => socket.destroy());
    socket.end(
      [
        `HTTP/1.1 ${String(status)} Bad Request`,
        'Connection: close',
        `Content-Length: ${String(Buffer.byteLength(body))}`,
        ...lines,
        '',
        body,
      ].join('\r\n'),
    );
  });
  ignoreOtherUpgrades(options.server);

  return {
    closeAll(reason) {
      for (const socket of wss.clients) closeSocket(socket, reason);
    },
    route(path, gateway, handle) {
      paths.add(path);
      app.ws(path, (socket, request) => {
        // A broken frame closes the socket by itself; without a listener it would end the process.
        socket.on('error', (error) => {
          logger.debug({ gateway, reason: error.message }, 'socket error');
        });
        try {
          handle({
            socket,
            connection: socketConnection(socket, request.socket, gateway),
            principal: principals.get(request),
          });
        } catch (error) {
          userError(error, logger);
          closeSocket(socket, 'fault');
        }
      });
      // What asks for this path without an upgrade is told to.
      app.get(path, (_request, response) => {
        response.status(426).set({ Upgrade: 'websocket', Connection: 'Upgrade' }).end();
      });
    },
  };
}

function socketConnection(socket: WebSocket, wire: Socket, gateway: string): Connection {
  return {
    gateway,
    canPong: true,
    // Frames come ready-made and are written once, beside those of `ws`, which queues nothing without compression.
    write(frame) {
      if (socket.readyState === socket.OPEN) wire.write(frame);
    },
    get bufferedBytes() {
      return wire.writableLength;
    },
    get flushedBytes() {
      return wire.bytesWritten - wire.writableLength;
    },
    onDrain(listener) {
      wire.on('drain', listener);
    },
    ping() {
      if (socket.readyState === socket.OPEN) socket.ping();
    },
    close(reason) {
      closeSocket(socket, reason);
    },
  };
}

function closeSocket(socket: WebSocket, reason: CloseReason): void {
  const [code, text] = CLOSE_CODES[reason];
  if (socket.readyState !== socket.OPEN) return;
  socket.close(code, text);
  const timer = setTimeout(() => {
    socket.terminate();
  }, CLOSE_TIMEOUT_MS);
  socket.once('close', () => {
    clearTimeout(timer);
  });
}
