/**
 * Handles requests with an `Upgrade` header. Node passes all of them to the `upgrade` listeners, including
 * requests that offer another protocol, such as `Upgrade: h2c` from the HTTP client of Java. A server may
 * ignore such an offer (RFC 9110 §7.8). Newer versions of Node have a callback for this; for older versions,
 * the server parses the request again without the offer.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';

type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

const OFFER_HEADERS = new Set(['upgrade', 'connection', 'http2-settings']);

/** Node 22.21, 24.9 and later call it for each request. The types of Node 22 lack it. */
interface ServerWithUpgradeCallback extends Server {
  shouldUpgradeCallback: (request: IncomingMessage) => boolean;
}

/** Passes WebSocket upgrades, and no others, to the current `upgrade` listeners of `server`. */
export function ignoreOtherUpgrades(server: Server): void {
  if (hasUpgradeCallback(server)) {
    server.shouldUpgradeCallback = isWebSocket;
    return;
  }
  const listeners = server.listeners('upgrade') as UpgradeListener[];
  server.removeAllListeners('upgrade');
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (isWebSocket(request)) {
      for (const listener of listeners) {
        listener.call(server, request, socket, head);
      }
      return;
    }
    socket.unshift(Buffer.concat([headWithoutOffer(request), head]));
    server.emit('connection', socket);
  });
}

function hasUpgradeCallback(server: Server): server is ServerWithUpgradeCallback {
  return 'shouldUpgradeCallback' in server;
}

function isWebSocket(request: IncomingMessage): boolean {
  return request.headers.upgrade?.trim().toLowerCase() === 'websocket';
}

function headWithoutOffer(request: IncomingMessage): Buffer {
  const lines = [`${request.method ?? 'GET'} ${request.url ?? '/'} HTTP/${request.httpVersion}`];
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? '';
    if (!OFFER_HEADERS.has(name.toLowerCase())) {
      lines.push(`${name}: ${request.rawHeaders[index + 1] ?? ''}`);
    }
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}
