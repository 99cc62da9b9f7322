/** A server that takes pushes and answers each request as its script says. It appends an id once, as the real one does. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What becomes of one request: whether its events are appended, and what the client hears of it. */
export interface PushStep {
  /** Default false. */
  readonly appends?: boolean;
  /** Default: the receipts, with status 200. */
  readonly answer?:
    'cut' | 'silence' | { readonly status: number; readonly code?: string; readonly retryAfter?: string };
}

export interface FakeLog {
  readonly url: string;
  /** The body of each request. */
  readonly bodies: readonly string[];
  /** The payloads, in the order in which they were appended. */
  readonly payloads: readonly unknown[];
  close(): Promise<void>;
}

interface PushedEvent {
  readonly id: string;
  readonly payload: unknown;
}

/** After the script, every request is appended and answered. */
export async function startFakeLog(script: readonly PushStep[]): Promise<FakeLog> {
  const steps = [...script];
  const bodies: string[] = [];
  const payloads: unknown[] = [];
  const versions = new Map<string, number>();

  const append = (events: readonly PushedEvent[]): unknown[] =>
    events.map(({ id, payload }) => {
      const version = versions.get(id) ?? payloads.push(payload);
      const duplicate = versions.has(id);
      versions.set(id, version);
      return { version, cursor: `e.${version}`, duplicate };
    });

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      bodies.push(body);
      const { appends = false, answer } = steps.shift() ?? { appends: true };
      const receipts = appends ? append(JSON.parse(body) as PushedEvent[]) : [];
      if (answer === 'cut') {
        request.socket.destroy();
      } else if (answer === undefined) {
        response.end(JSON.stringify({ events: receipts }));
      } else if (answer !== 'silence') {
        const { status, code, retryAfter } = answer;
        response
          .writeHead(status, retryAfter === undefined ? {} : { 'Retry-After': retryAfter })
          .end(code === undefined ? '<html>' : JSON.stringify({ code, detail: 'no' }));
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bodies,
    payloads,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
