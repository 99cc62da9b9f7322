/** A server that speaks the wire and can be made to fail, or to lie, at any place. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';

/** One connection of the client: an upgrade or a request, not answered yet. */
export interface Attempt {
  /** Answers with an HTTP status. */
  answer(status: number, headers?: Record<string, string>, body?: string): void;
  /** Cuts the TCP connection. */
  cut(): void;
  /** Accepts it, and serves what comes after the cursor that the client named. */
  serve(): Promise<Served>;
}

export interface Served {
  /** The position that the client named; 0 is the start. */
  readonly after: number;
  /** The older positions that the client named. */
  readonly trail: readonly number[];
  /** Says where it begins. */
  begin(): void;
  /** Gives events of these versions; their cursors are their positions. */
  give(...versions: number[]): void;
  giveOf(accessId: string, version: number): void;
  live(): void;
  /** Sends what is no frame. */
  rubbish(text: string): void;
  close(code: number, reason?: string, error?: Record<string, string>): void;
  cut(): void;
}

export interface FakeServer {
  readonly url: string;
  close(): Promise<void>;
}

const eventText = (accessId: string, version: number): string =>
  `{"cursor":"e.${version}","access_id":"${accessId}","version":${version},"created_at":1,"recorded_at":1,"payload":${version}}`;

const positionOf = (after: string | null): number =>
  after === null || after === 'start' ? 0 : Number(after.split('.')[1]);

/** `onAttempt` is called for each connection but the questions that a client asks to learn why it was refused. */
export async function startFakeServer(
  onAttempt: (attempt: Attempt) => void,
  onQuestion: (response: ServerResponse) => void,
): Promise<FakeServer> {
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'lastseen' });
  const server = createServer((request, response) => {
    const query = new URL(request.url ?? '', 'http://fake').searchParams;
    if (query.get('limit') === '1') {
      onQuestion(response);
    } else {
      onAttempt(requestAttempt(request, response, query));
    }
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    onAttempt({
      answer(status, headers = {}, body = '') {
        const lines = Object.entries({ ...headers, 'Content-Length': String(Buffer.byteLength(body)) });
        socket.end(
          `HTTP/1.1 ${status} No\r\nConnection: close\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
        );
      },
      cut: () => socket.destroy(),
      serve: () =>
        new Promise((resolve) => {
          sockets.handleUpgrade(request, socket, head, (ws) => {
            ws.once('message', (data: Buffer) => {
              const { after, trail = [] } = JSON.parse(data.toString()) as {
                after: string;
                trail?: string[];
              };
              resolve(servedSocket(ws, positionOf(after), trail.map(positionOf)));
            });
          });
        }),
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const socket of sockets.clients) {
        socket.terminate();
      }
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function servedSocket(socket: WebSocket, after: number, trail: readonly number[]): Served {
  const send = (value: unknown): void => {
    socket.send(JSON.stringify(value));
  };
  return {
    after,
    trail,
    begin() {
      send({ type: 'subscribed', access_id: 'a', cursor: `e.${after}`, head: 'e.9' });
    },
    give(...versions) {
      socket.send(
        `{"type":"events","access_id":"a","events":[${versions.map((version) => eventText('a', version)).join(',')}]}`,
      );
    },
    giveOf(accessId, version) {
      socket.send(`{"type":"events","access_id":"${accessId}","events":[${eventText(accessId, version)}]}`);
    },
    live() {
      send({ type: 'live', access_id: 'a', cursor: 'e.9' });
    },
    rubbish(text) {
      socket.send(text);
    },
    close(code, reason, error) {
      if (error !== undefined) {
        send({ type: 'error', ...error });
      }
      socket.close(code, reason);
    },
    cut() {
      socket.terminate();
    },
  };
}

function requestAttempt(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): Attempt {
  const after = query.get('after');
  const isStream = request.headers.accept === 'text/event-stream';
  const page = (events: readonly string[], isCaughtUp: boolean): void => {
    const cursor =
      events.length === 0 ? (after ?? 'e.0') : /"cursor":"([^"]+)"/.exec(events.at(-1) ?? '')?.[1];
    response
      .writeHead(200, { 'Content-Type': 'application/json' })
      .end(
        `{"access_id":"a","events":[${events.join(',')}],"cursor":"${cursor ?? ''}","caught_up":${isCaughtUp}}`,
      );
  };
  const give = (...events: string[]): void => {
    if (isStream) {
      for (const event of events) {
        response.write(`id: x\ndata: ${event}\n\n`);
      }
    } else {
      page(events, false);
    }
  };
  const served: Served = {
    after: positionOf(after),
    trail: query.get('trail')?.split(',').map(positionOf) ?? [],
    begin() {
      if (isStream) {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(': hello\n\n');
      }
    },
    give: (...versions) => {
      give(...versions.map((version) => eventText('a', version)));
    },
    giveOf: (accessId, version) => {
      give(eventText(accessId, version));
    },
    live: () => undefined,
    rubbish(text) {
      if (isStream) {
        response.write(`data: ${text}\n\n`);
      } else {
        response.writeHead(200, { 'Content-Type': 'application/json' }).end(text);
      }
    },
    close: () => request.socket.destroy(),
    cut: () => request.socket.destroy(),
  };
  return {
    answer(status, headers = {}, body = '') {
      response.writeHead(status, headers).end(body);
    },
    cut: () => request.socket.destroy(),
    serve: () => Promise.resolve(served),
  };
}
