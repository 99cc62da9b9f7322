/** A real server in this process, on a file of its own, and the clients that tests talk to it with. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { readConfig } from '../../src/config.ts';
import { createLogger } from '../../src/logger.ts';
import { type ServerOptions, startServer } from '../../src/server.ts';
import { temporaryDirectory } from './temporary.ts';
import { PATIENCE_MS } from './until.ts';

export const TOKEN = 'test-admin';

export interface WireEvent {
  readonly cursor: string;
  readonly access_id: string;
  readonly version: number;
  readonly created_at: number;
  readonly recorded_at: number;
  readonly id?: string;
  readonly payload: unknown;
}

export interface Page {
  readonly access_id: string;
  readonly events: WireEvent[];
  readonly cursor: string;
  readonly caught_up: boolean;
}

export interface Problem {
  readonly code: string;
  readonly detail: string;
  readonly floor?: string;
  readonly common?: string;
  readonly common_by?: string;
  readonly errors?: { pointer: string; detail: string }[];
}

export interface Service {
  readonly url: string;
  readonly port: number;
  /** The admin tokens it has made and shown. */
  readonly madeTokens: readonly string[];
  /** Of the SQLite file; empty on PostgreSQL. */
  readonly databasePath: string;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** POST of a JSON body, given as a value or as text. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  push(...events: Record<string, unknown>[]): Promise<void>;
  page(accessId: string, query?: string): Promise<Page>;
  connect(options?: { headers?: Record<string, string>; protocols?: string[] }): Promise<Client>;
  stop(): Promise<void>;
}

export async function startService(
  settings: Record<string, string> = {},
  databasePath?: string,
  options: Pick<ServerOptions, 'devices'> & Partial<Pick<ServerOptions, 'logger'>> = {},
): Promise<Service> {
  const directory = databasePath === undefined ? temporaryDirectory() : undefined;
  const path = databasePath ?? join(directory?.path ?? '', 'log.db');
  const config = readConfig({
    PORT: '0',
    DATABASE_URL: `sqlite:${path}`,
    LASTSEEN_ADMIN_TOKEN: TOKEN,
    ...settings,
  });
  const madeTokens: string[] = [];
  const server = await startServer({
    config,
    logger: createLogger('silent', false),
    onAdminToken: (token) => madeTokens.push(token),
    ...options,
  }).catch((error: unknown) => {
    directory?.remove();
    throw error;
  });
  const port = Number(new URL(server.url).port);
  const authorization = { Authorization: `Bearer ${TOKEN}` };

  const service: Service = {
    url: server.url,
    port,
    databasePath: config.database.kind === 'sqlite' ? config.database.path : '',
    madeTokens,
    fetch: (to, init = {}) =>
      fetch(server.url + to, {
        ...init,
        headers: { ...authorization, ...(init.headers as Record<string, string>) },
      }),
    post: (to, body, headers = {}) =>
      service.fetch(to, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    async push(...events) {
      const response = await service.post('/push_events', events);
      assert.equal(await response.text(), 'true');
    },
    async page(accessId, query = '') {
      const response = await service.fetch(`/events?access_id=${encodeURIComponent(accessId)}${query}`);
      assert.equal(response.status, 200);
      return (await response.json()) as Page;
    },
    connect: (options = {}) => connect(port, { headers: authorization, ...options }),
    async stop() {
      await server.stop();
      directory?.remove();
    },
  };
  return service;
}

/** A WebSocket whose frames can be waited for. */
export interface Client {
  readonly socket: WebSocket;
  readonly frames: string[];
  send(message: unknown): void;
  /** The first frame, from the first one on, that fits; fails when the socket closes before it came. */
  frame(fits: (frame: string) => boolean): Promise<string>;
  /** The first frame of that type, as a value. */
  typed(type: string): Promise<Record<string, unknown>>;
  /** All events of exact frames, once there are `count`. */
  events(count: number): Promise<WireEvent[]>;
  /** Close code and reason. */
  closed(): Promise<[code: number, reason: string]>;
  close(): Promise<void>;
}

export async function connect(
  port: number,
  options: { headers?: Record<string, string>; protocols?: string[]; path?: string } = {},
): Promise<Client> {
  const socket = new WebSocket(
    `ws://127.0.0.1:${port}${options.path ?? '/subscribe_to_events'}`,
    options.protocols ?? [],
    {
      headers: options.headers ?? {},
    },
  );
  const frames: string[] = [];
  const watchers = new Set<() => void>();
  let end: [number, string] | undefined;
  const look = (): void => {
    for (const watcher of [...watchers]) {
      watcher();
    }
  };
  socket.on('message', (data: Buffer) => {
    frames.push(data.toString('utf8'));
    look();
  });
  socket.on('close', (code, reason) => {
    end = [code, reason.toString('utf8')];
    look();
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  socket.on('error', () => undefined);

  function until<T>(find: () => T | undefined, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const watch = (): void => {
        const found = find();
        if (found === undefined && end === undefined) {
          return;
        }
        watchers.delete(watch);
        clearTimeout(timer);
        if (found !== undefined) {
          resolve(found);
        } else {
          reject(
            new Error(
              `closed with ${String(end)} before ${what}; frames: ${frames.join('\n').slice(0, 2_000)}`,
            ),
          );
        }
      };
      const timer = setTimeout(() => {
        watchers.delete(watch);
        reject(new Error(`no ${what} in time; frames: ${frames.join('\n').slice(0, 2_000)}`));
      }, PATIENCE_MS);
      watchers.add(watch);
      watch();
    });
  }

  function exactEvents(): WireEvent[] {
    return frames.flatMap((frame) => {
      const value = JSON.parse(frame) as { type?: string; events?: WireEvent[] };
      return value.type === 'events' ? (value.events ?? []) : [];
    });
  }

  return {
    socket,
    frames,
    send(message) {
      socket.send(typeof message === 'string' ? message : JSON.stringify(message));
    },
    frame: (fits) => until(() => frames.find(fits), 'the frame waited for'),
    async typed(type) {
      const isIt = (frame: string): boolean => (JSON.parse(frame) as { type?: string }).type === type;
      return JSON.parse(await until(() => frames.find(isIt), `a frame of type ${type}`)) as Record<
        string,
        unknown
      >;
    },
    events: (count) =>
      until(() => {
        const events = exactEvents();
        return events.length >= count ? events : undefined;
      }, `${count} events`),
    closed: () => until(() => end, 'close'),
    async close() {
      socket.close();
      await until(() => end, 'close');
    },
  };
}
