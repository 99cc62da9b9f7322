/** The official npm clients of Phoenix channels, in the versions that people have, and what of them the tests use. */
import { createRequire } from 'node:module';
import { WebSocket } from 'ws';

export interface PhoenixPush {
  receive(status: string, then: (response: never) => void): PhoenixPush;
}

export interface PhoenixChannel {
  readonly topic: string;
  readonly state: string;
  join(timeout?: number): PhoenixPush;
  leave(): PhoenixPush;
  push(event: string, payload: object): PhoenixPush;
  on(event: string, then: (payload: never) => void): number;
  onClose(then: () => void): void;
  onError(then: (reason: unknown) => void): void;
}

export interface PhoenixSocket {
  connect(): void;
  disconnect(): void;
  channel(topic: string, params?: object | (() => object)): PhoenixChannel;
  onOpen(then: () => void): void;
  onClose(then: (event: { code: number }) => void): void;
  onError(then: (error: unknown) => void): void;
  onMessage(then: (message: unknown) => void): void;
  isConnected(): boolean;
}

export interface PhoenixPresence {
  onSync(then: () => void): void;
  onJoin(then: (key: string, current: unknown, joined: never) => void): void;
  onLeave(then: (key: string, current: never, left: never) => void): void;
  list<T>(by: (key: string, presence: { metas: Record<string, unknown>[] }) => T): T[];
}

interface PhoenixPackage {
  readonly Socket: new (url: string, options: object) => PhoenixSocket;
  readonly Presence: new (channel: PhoenixChannel) => PhoenixPresence;
}

const require = createRequire(import.meta.url);

export const PHOENIX_CLIENTS = (
  [
    ['1.7.21', 'phoenix-1-7'],
    ['1.8.15', 'phoenix-1-8'],
    ['1.8.16', 'phoenix-1-8-latest'],
  ] as const
).map(([version, name]) => ({ version, ...(require(name) as PhoenixPackage) }));

/** Options of a Socket that every test wants. */
export const TRANSPORT = { transport: WebSocket, heartbeatIntervalMs: 2_000 };

/** Resolves with the response when the push is answered so; rejects with what else it is answered. */
export function answered(push: PhoenixPush, status = 'ok'): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    for (const one of ['ok', 'error', 'timeout']) {
      push.receive(one, (response) => {
        if (one === status) {
          resolve(response);
        } else {
          reject(new Error(`${one}: ${JSON.stringify(response)}`));
        }
      });
    }
  });
}
