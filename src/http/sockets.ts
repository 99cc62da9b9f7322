/**
 * WebSockets, for all gateways. express-ws accepts an upgrade before it routes it and catches no rejection, so
 * refusals happen in `verifyClient` with a real status, handlers are attached synchronously, and whatever one throws
 * ends its own socket only (G8). Compression is off: it costs some 200 KB a connection.
 */
import { isUtf8 } from 'node:buffer';
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Express } from 'express';
import type { WebSocket } from 'ws';
import type { Admission } from '../delivery/admission.ts';
import type { CloseReason, Connection } from '../delivery/connection.ts';
import type { Inbox } from '../delivery/turns.ts';
import { LastseenError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Timers } from '../runtime.ts';
import type { ErrorReporter } from './error-reporter.ts';
import { expressWs } from './express-ws.ts';
import { CLOSE_CODES, type Problem, problemOf } from './problem.ts';
import { ignoreOtherUpgrades } from './upgrade.ts';

/** Bytes of a message from a client, unless its route takes more. */
const MAX_MESSAGE_BYTES = 64 * 1024;

/** A peer that does not answer a close is cut after so long. */
const CLOSE_TIMEOUT_MS = 5_000;

/** What a gateway gets for each accepted socket: `admitted` is what its `admit` resolved to. */
export interface AcceptedSocket<T> {
  readonly socket: WebSocket;
  readonly connection: Connection;
  /** Its reading side, for `createTurns`. */
  readonly inbox: Inbox;
  readonly admitted: T;
  /** Bytes that have come from the client, parts of messages included. */
  readonly receivedBytes: () => number;
}

/** How a gateway serves its sockets. */
export interface SocketRoute<T> {
  readonly path: string;
  /** Name of the gateway, for the operator. */
  readonly gateway: string;
  /** Bytes of a message; more closes the socket with 1009. Default 64 KiB. */
  readonly maxMessageBytes?: number;
  /** Decides before the upgrade who may open the socket. What it throws refuses the upgrade. */
  readonly admit: (request: IncomingMessage) => Promise<T>;
  /** Which of the offered subprotocols is spoken; default `lastseen`. */
  readonly protocolOf?: (offered: ReadonlySet<string>) => string | false;
  /** How a refusal of `admit` looks; default a problem. */
  readonly refusalOf?: (error: unknown) => Problem;
  /** Where the protocol's close codes differ. */
  readonly closeCodes?: Partial<Record<CloseReason, readonly [code: number, text: string]>>;
  /** Attaches its listeners before it returns. */
  readonly handle: (accepted: AcceptedSocket<T>) => void;
}

export interface Sockets {
  route<T>(route: SocketRoute<T>): void;
  /** Upgrades of another server, whatever their path, are taken as if they had asked for `path` here; a query stays. */
  forward(server: Server, path: string): void;
  /** Closes every socket, authenticated or not. */
  closeAll(reason: CloseReason): void;
}

export interface SocketOptions {
  readonly app: Express;
  readonly server: Server;
  readonly admission: Admission;
  readonly timers: Timers;
  readonly errors: ErrorReporter;
  readonly logger: Logger;
}

/** What `verifyClient` needs of a route. */
interface Upgrade {
  readonly maxMessageBytes: number;
  readonly admit: (request: IncomingMessage) => Promise<unknown>;
  readonly protocolOf: (offered: ReadonlySet<string>) => string | false;
  readonly refusalOf: (error: unknown) => Problem;
}

export function createSockets(options: SocketOptions): Sockets {
  const { errors, logger } = options;
  const upgrades = new Map<string, Upgrade>();
  const admissions = new WeakMap<IncomingMessage, unknown>();
  const problem = (error: unknown): Problem => problemOf(errors.report(error));

  async function admit(request: IncomingMessage, upgrade: Upgrade | undefined): Promise<void> {
    if (upgrade === undefined) {
      throw new LastseenError('ERR_NOT_FOUND', 'no socket is served here');
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
      handleProtocols: (offered, request) => upgrades.get(pathOf(request))?.protocolOf(offered) ?? false,
      verifyClient: ({ req }, done) => {
        const upgrade = upgrades.get(pathOf(req));
        admit(req, upgrade).then(
          () => {
            // Read by `ws` when it completes this upgrade, which it does before `done` returns.
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
  // It repeats the errors of its server, whose own listeners hear of them.
  wss.on('error', () => undefined);
  wss.on('wsClientError', (error, socket) => {
    const message = `this is no WebSocket handshake (RFC 6455): ${error.message}`;
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
            problem(new LastseenError('ERR_REQUEST_INVALID', 'only WebSockets are served here')),
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
        throw new LastseenError('ERR_REQUEST_INVALID', `two gateways serve sockets at ${path}`);
      }
      upgrades.set(path, {
        maxMessageBytes: route.maxMessageBytes ?? MAX_MESSAGE_BYTES,
        admit: route.admit,
        protocolOf: route.protocolOf ?? ((offered) => (offered.has('lastseen') ? 'lastseen' : false)),
        refusalOf: route.refusalOf ?? problem,
      });
      const closeCodes = { ...CLOSE_CODES, ...route.closeCodes };
      app.ws(path, (socket, request) => {
        // A broken frame closes the socket by itself; without a listener it would end the process.
        socket.on('error', (error) => {
          logger.debug({ gateway, reason: error.message }, 'socket error');
        });
        try {
          route.handle({
            socket,
            connection: socketConnection(socket, request.socket, {
              gateway,
              closeCodes,
              timers: options.timers,
            }),
            inbox: inboxOf(socket),
            admitted: admissions.get(request) as T,
            receivedBytes: () => request.socket.bytesRead,
          });
        } catch (error) {
          errors.report(error);
          closeSocket(socket, closeCodes.fault, options.timers);
        }
      });
      // What asks for this path without an upgrade is told to.
      app.get(path, (_request, response) => {
        response.status(426).set({ Upgrade: 'websocket', Connection: 'Upgrade' }).end();
      });
    },
  };
}

/** A message as text; `undefined` when a binary one is not UTF-8 (`ws` refuses such text by itself). */
export function textOf(data: Buffer | ArrayBuffer | Buffer[]): string | undefined {
  const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined;
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0] ?? '';
}

/** Answers an upgrade with a refusal, and closes. */
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

type CloseCodes = Readonly<Record<CloseReason, readonly [code: number, text: string]>>;

function inboxOf(socket: WebSocket): Inbox {
  const closed = new AbortController();
  socket.once('close', () => {
    closed.abort();
  });
  return {
    get isOpen() {
      return socket.readyState === socket.OPEN;
    },
    pause() {
      socket.pause();
    },
    resume() {
      socket.resume();
    },
    signal: closed.signal,
  };
}

interface ConnectionOptions {
  readonly gateway: string;
  readonly closeCodes: CloseCodes;
  readonly timers: Timers;
}

function socketConnection(
  socket: WebSocket,
  wire: Socket,
  { gateway, closeCodes, timers }: ConnectionOptions,
): Connection {
  return {
    gateway,
    canPong: true,
    // Frames come ready-made and are written once, beside those of `ws`, which queues nothing without compression.
    write(frame) {
      if (socket.readyState === socket.OPEN) {
        wire.write(frame);
      }
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
      if (socket.readyState === socket.OPEN) {
        socket.ping();
      }
    },
    close(reason) {
      closeSocket(socket, closeCodes[reason], timers);
    },
  };
}

function closeSocket(
  socket: WebSocket,
  [code, text]: readonly [code: number, text: string],
  timers: Timers,
): void {
  if (socket.readyState !== socket.OPEN) {
    return;
  }
  socket.close(code, text);
  const cancel = timers.after(CLOSE_TIMEOUT_MS, () => {
    socket.terminate();
  });
  socket.once('close', cancel);
}
