/** The HTTP servers of the service. They start to listen together and drain together. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { LastseenError } from '../errors.ts';
import type { Timers } from '../runtime.ts';

/** The HTTP servers of the service. */
export interface Listeners {
  /** Adds a server that listens on `port`. */
  add(server: Server, port: number): void;
  /**
   * Starts to listen.
   * @throws ERR_REQUEST_INVALID if a port is in use, or Node's error if the address is not available
   */
  listen(): Promise<void>;
  /**
   * Stops accepting connections, and finishes the requests in progress. It closes idle connections at once,
   * and the others after 10 s.
   */
  drain(): Promise<void>;
  /** URL of the first server, for example `http://127.0.0.1:8080`. */
  url(): string;
}

/** Maximum time for the requests in progress during a drain. */
const DRAIN_MS = 10_000;
const CLOSE_IDLE_EVERY_MS = 20;

/** Creates an empty set of servers. */
export function createListeners({
  host,
  timers,
}: {
  readonly host: string;
  readonly timers: Timers;
}): Listeners {
  const entries: { readonly server: Server; readonly port: number }[] = [];
  const servers = (): Server[] => entries.map(({ server }) => server);

  return {
    add(server, port) {
      entries.push({ server, port });
    },
    async listen() {
      for (const { server, port } of entries) {
        await listen(server, { host, port });
      }
    },
    async drain() {
      const closed = Promise.all(servers().map(close));
      const stopClosingIdle = timers.every(CLOSE_IDLE_EVERY_MS, () => {
        for (const server of servers()) {
          server.closeIdleConnections();
        }
      });
      const cancelForcedClose = timers.after(DRAIN_MS, () => {
        for (const server of servers()) {
          server.closeAllConnections();
        }
      });
      await closed;
      stopClosingIdle();
      cancelForcedClose();
    },
    url() {
      const { port } = entries[0]?.server.address() as AddressInfo;
      return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
    },
  };
}

async function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') {
        reject(error);
        return;
      }
      reject(new LastseenError('ERR_REQUEST_INVALID', `PORT: another process uses ${host}:${port}`));
    });
    server.listen(port, host, resolve);
  });
}

/** Closes a server. A server that does not listen counts as closed. */
async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) =>
    server.close(() => {
      resolve();
    }),
  );
}
