/** The service's HTTP servers: they begin to listen together, and drain together. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { LastseenError } from '../errors.ts';
import type { Timers } from '../runtime.ts';

export interface Listeners {
  add(server: Server, port: number): void;
  /** @throws ERR_REQUEST_INVALID when a port is taken, or Node's error when the address cannot be listened on */
  listen(): Promise<void>;
  /**
   * Accepts nothing more and answers what is in flight. Connections that become idle are closed at once, all others
   * after 10 s.
   */
  drain(): Promise<void>;
  /** Where the first server listens, e.g. `http://127.0.0.1:8080`. */
  url(): string;
}

/** Time for answers in flight when draining. */
const DRAIN_MS = 10_000;
const CLOSE_IDLE_EVERY_MS = 20;

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
      reject(new LastseenError('ERR_REQUEST_INVALID', `PORT: ${host}:${port} is in use by another process`));
    });
    server.listen(port, host, resolve);
  });
}

/** A server that does not listen is closed already. */
async function close(server: Server): Promise<void> {
  await new Promise<void>((resolve) =>
    server.close(() => {
      resolve();
    }),
  );
}
