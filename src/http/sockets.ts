/**
 * WebSockets of all gateways. express-ws accepts an upgrade before it routes it, and does not catch
 * rejections. `verifyClient` therefore refuses upgrades with an HTTP status, handlers attach their listeners
 * synchronously, and an error in a handler closes its own socket and no other (G8). Compression is off: it
 * costs about 200 KB per connection.
 */
import { isUtf8 } from 'node:buffer';
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Express } from 'express';
import type { WebSocket } from 'ws';
import type { Admission } from '../delivery/admission.ts';
import type { ByteBudget } from '../delivery/byte-budget.ts';
import type { CloseReason, Connection } from '../delivery/connection.ts';
import type { Inbox } from '../delivery/turns.ts';
import { LastseenError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Timers } from '../runtime.ts';
import { CLOSE_CODES } from './close-codes.ts';
import type { ErrorReporter } from './error-reporter.ts';
import { expressWs } from './express-ws.ts';
import { boundMessages } from './messages.ts';
import { type Problem, problemOf } from './problem.ts';
import { closeSocket, inboxOf, socketConnection } from './socket-connection.ts';
import { ignoreOtherUpgrades } from './upgrade.ts';

/** Maximum bytes of a client message. A route can set another limit. */
const MAX_MESSAGE_BYTES = 64 * 1024;

/** Maximum number of fragments of a message. `ws` keeps an object for each. */
const MAX_FRAGMENTS = 1_024;

/** An accepted socket. `admitted` is the value that `admit` resolved to. */
export interface AcceptedSocket<T> {
  readonly socket: WebSocket;
  readonly connection: Connection;
  /** The reading side of the socket, for `createTurns`. */
  readonly inbox: Inbox;
  readonly admitted: T;
  /** Returns the number of bytes received from the client, partial messages included. */
  readonly receivedBytes: () => number;
}

/** The sockets of a gateway at one path. */
export interface SocketRoute<T> {
  readonly path: string;
  /** Name of the gateway. */
  readonly gateway: string;
  /** Maximum bytes of a message. A larger message closes the socket with 1009. Default 64 KiB. */
  readonly maxMessageBytes?: number;
  /** Decides before the upgrade whether the client may open the socket. An error refuses the upgrade. */
  readonly admit: (request: IncomingMessage) => Promise<T>;
  /** Selects one of the offered subprotocols. Default: `lastseen`. */
  readonly protocolOf?: (offered: ReadonlySet<string>) => string | false;
  /** Converts an error of `admit` to a response. Default: a problem document. */
  readonly refusalOf?: (error: unknown) => Problem;
  /** Close codes of the protocol that differ from `CLOSE_CODES`. */
  readonly closeCodes?: Partial<Record<CloseReason, readonly [code: number, text: string]>>;
  /** Returns the token subject that messages count for. Default: they count for the address of the client. */
  readonly subjectOf?: (admitted: T) => string | undefined;
  /** Handles an accepted socket. It attaches its listeners before it returns. */
  readonly handle: (accepted: AcceptedSocket<T>) => void;
}

/** The sockets of the service. */
export interface Sockets {
  /** Serves sockets at a path. */
  route<T>(route: SocketRoute<T>): void;
  /** Serves the upgrades of another server, at any path, as upgrades to `path`. The query is kept. */
  forward(server: Server, path: string): void;
  /** Closes every socket, including unauthenticated ones. */
  closeAll(reason: CloseReason): void;
}

/** The server and the parts that sockets depend on. */
export interface SocketOptions {
  readonly app: Express;
  readonly server: Server;
  readonly admission: Admission;
  /** The bytes of bodies and messages that arrive. */
  readonly bodyBudget: ByteBudget;
  /** Maximum time until a message has arrived completely. */
  readonly requestTimeoutMs: number;
  readonly timers: Timers;
  readonly errors: ErrorReporter;
  readonly logger: Logger;
}

/** The part of a route that `verifyClient` uses. */
interface Upgrade {
  readonly maxMessageBytes: number;
  readonly admit: (request: IncomingMessage) => Promise<unknown>;
  readonly protocolOf: (offered: ReadonlySet<string>) => string | false;
  readonly refusalOf: (error: unknown) => Problem;
}

/** Creates the sockets of a server. */
export function createSockets(options: SocketOptions): Sockets {
  const { errors, logger } = options;
  const upgrades = new Map<string, Upgrade>();
  const admissions = new WeakMap<IncomingMessage, unknown>();
  const problem = (error: unknown): Problem => problemOf(errors.report(error));

  async function admit(request: IncomingMessage, upgrade: Upgrade | undefined): Promise<void> {
    if (upgrade === undefined) {
      throw new LastseenError('ERR_NOT_FOUND', 'no WebSocket route matches this path');
    }
    options.admission.requireRunning();
    const admitted = await upgrade.admit(request);
    options.admission.requireCapacity(wss.clients.size);
    admissions.set(request, admitted);
  }

  const { app, getWss } = expressWs(options.app, options.server, {
    leaveRouterUntouched: true,
    wsOptions: {
      perMessageDeflate: false,
      clientTracking: true,
      maxFragments: MAX_FRAGMENTS,
      handleProtocols: (offered, request) => upgrades.get(pathOf(request))?.protocolOf(offered) ?? false,
      verifyClient: ({ req }, done) => {
        const upgrade = upgrades.get(pathOf(req));
        admit(req, upgrade).then(
          () => {
            // `ws` reads `maxPayload` when it completes this upgrade, before `done` returns.
            wss.options.maxPayload = upgrade?.maxMessageBytes ?? MAX_MESSAGE_BYTES;
            done(true);
          },
          (error: unknown) => {
            refuse(req.socket, (upgrade?.refusalOf ?? problem)(error));
          },
        );
      },
    },
  });
  const wss = getWss();
  // The WebSocket server emits the errors of its HTTP server again. The listeners of the HTTP server handle
  // them.
  wss.on('error', () => undefined);
  wss.on('wsClientError', (error, socket) => {
    const message = `the WebSocket handshake (RFC 6455) is invalid: ${error.message}`;
    refuse(socket, problemOf(new LastseenError('ERR_REQUEST_INVALID', message)));
  });
  ignoreOtherUpgrades(options.server);

  return {
    closeAll(reason) {
      for (const socket of wss.clients) {
        closeSocket(socket, CLOSE_CODES[reason], options.timers);
      }
    },
    forward(server, path) {
      server.on('upgrade', (request: IncomingMessage, socket, head) => {
        if (request.headers.upgrade?.trim().toLowerCase() !== 'websocket') {
          refuse(
            socket,
            problem(new LastseenError('ERR_REQUEST_INVALID', 'the Upgrade header must be websocket')),
          );
          return;
        }
        request.url = path + (request.url ?? '').slice(pathOf(request).length);
        options.server.emit('upgrade', request, socket, head);
      });
    },
    route<T>(route: SocketRoute<T>) {
      const { path, gateway } = route;
      if (upgrades.has(path)) {
        throw new LastseenError('ERR_REQUEST_INVALID', `two gateways serve WebSockets at ${path}`);
      }
      upgrades.set(path, {
        maxMessageBytes: route.maxMessageBytes ?? MAX_MESSAGE_BYTES,
        admit: route.admit,
        protocolOf: route.protocolOf ?? ((offered) => (offered.has('lastseen') ? 'lastseen' : false)),
        refusalOf: route.refusalOf ?? problem,
      });
      const closeCodes = { ...CLOSE_CODES, ...route.closeCodes };
      app.ws(path, (socket, request) => {
        // `ws` closes the socket after an invalid frame. Without a listener the error would end the process.
        socket.on('error', (error) => {
          logger.debug({ gateway, reason: error.message }, 'socket error');
        });
        try {
          const wire = request.socket;
          const admitted = admissions.get(request) as T;
          const messages = boundMessages({
            socket,
            wire,
            budget: options.bodyBudget,
            owner: route.subjectOf?.(admitted) ?? `address ${wire.remoteAddress ?? ''}`,
            timeoutMs: options.requestTimeoutMs,
            timers: options.timers,
            close: (reason) => {
              closeSocket(socket, closeCodes[reason], options.timers);
            },
          });
          route.handle({
            socket,
            connection: socketConnection(socket, wire, { gateway, closeCodes, timers: options.timers }),
            inbox: inboxOf(socket, messages),
            admitted,
            receivedBytes: () => wire.bytesRead,
          });
        } catch (error) {
          errors.report(error);
          closeSocket(socket, closeCodes.fault, options.timers);
        }
      });
      // A request without an upgrade receives 426.
      app.get(path, (_request, response) => {
        response.status(426).set({ Upgrade: 'websocket', Connection: 'Upgrade' }).end();
      });
    },
  };
}

/**
 * Decodes a message as text; `undefined` if a binary message is not UTF-8. `ws` rejects a text message that
 * is not UTF-8.
 */
export function textOf(data: Buffer | ArrayBuffer | Buffer[]): string | undefined {
  const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined;
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0] ?? '';
}

/** Answers an upgrade with an error and closes the connection. */
function refuse(socket: Duplex, { status, headers, body }: Problem): void {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  socket.once('finish', () => socket.destroy());
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'Connection: close',
      `Content-Length: ${Buffer.byteLength(body)}`,
      ...lines,
      '',
      body,
    ].join('\r\n'),
  );
}
