/** A device on a real WebSocket, and what its server answers when it is not let in. */
import { request as httpRequest } from 'node:http';
import { WebSocket } from 'ws';
import { decode } from '../../src/gateways/fedecks/etf/decode.ts';
import { encode } from '../../src/gateways/fedecks/etf/encode.ts';
import { charlist, isCharlist, type Term } from '../../src/gateways/fedecks/etf/term.ts';
import { PATIENCE_MS } from './until.ts';

export const TOKEN_PLEASE = charlist('token_please');

/** The value of `x-fedecks-auth` for this map. */
export function authOf(fields: Record<string, Term>): string {
  return encode(new Map<Term, Term>(Object.entries(fields))).toString('base64');
}

function headerOf(auth: string | readonly string[] | Record<string, Term>): string | string[] {
  if (typeof auth === 'string') {
    return auth;
  }
  return Array.isArray(auth) ? [...(auth as string[])] : authOf(auth as Record<string, Term>);
}

export interface Device {
  readonly socket: WebSocket;
  /** Bytes of every message that came, and whether each was binary. */
  readonly frames: readonly Buffer[];
  readonly isBinary: readonly boolean[];
  /** Terms that came, tokens aside. */
  readonly terms: readonly Term[];
  readonly tokens: readonly string[];
  send(term: Term): void;
  raw(bytes: Uint8Array | string): void;
  /** What `find` gives, once it gives something. */
  until<T>(find: () => T | undefined): Promise<T>;
  /** So many terms. */
  some(count: number): Promise<readonly Term[]>;
  /** So many tokens; the last of them. */
  token(count?: number): Promise<string>;
  closed(): Promise<[code: number, reason: string]>;
  close(): Promise<void>;
}

export async function openDevice(
  port: number,
  auth: string | readonly string[] | Record<string, Term>,
  path = '/fedecks/websocket',
): Promise<Device> {
  const header = headerOf(auth);
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers: { 'x-fedecks-auth': header } });
  const frames: Buffer[] = [];
  const isBinary: boolean[] = [];
  const terms: Term[] = [];
  const tokens: string[] = [];
  const watchers = new Set<() => void>();
  let end: [number, string] | undefined;
  const look = (): void => {
    for (const watcher of [...watchers]) {
      watcher();
    }
  };
  socket.on('message', (data: Buffer, binary) => {
    frames.push(data);
    isBinary.push(binary);
    const decoded = decode(data, { maxBytes: 10_000_000 });
    if (!decoded.ok) {
      throw new Error(`no term: ${data.toString('hex').slice(0, 100)}`);
    }
    const token = tokenIn(decoded.term);
    if (token === undefined) {
      terms.push(decoded.term);
    } else {
      tokens.push(token);
    }
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

  function until<T>(find: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const finish = (then: () => void): void => {
        watchers.delete(watch);
        clearTimeout(timer);
        then();
      };
      const watch = (): void => {
        const found = find();
        if (found !== undefined) {
          finish(() => resolve(found));
        } else if (end !== undefined) {
          finish(() => reject(new Error(`closed with ${String(end)}`)));
        }
      };
      const timer = setTimeout(() => {
        finish(() => reject(new Error(`not in time; ${frames.length} frames, ${terms.length} terms`)));
      }, PATIENCE_MS);
      watchers.add(watch);
      watch();
    });
  }

  return {
    socket,
    frames,
    isBinary,
    terms,
    tokens,
    send: (term) => socket.send(encode(term)),
    raw: (bytes) => socket.send(bytes),
    until,
    some: (count) => until(() => (terms.length >= count ? terms : undefined)),
    token: (count = 1) => until(() => tokens[count - 1]),
    closed: () => until(() => end),
    async close() {
      socket.close();
      await until(() => end);
    },
  };
}

function tokenIn(term: Term): string | undefined {
  if (typeof term !== 'object' || term === null || !('kind' in term) || term.kind !== 'tuple') {
    return undefined;
  }
  const [name, token] = term.items;
  return name !== undefined && isCharlist(name, 'token') && typeof token === 'string' ? token : undefined;
}

/** An answer to an upgrade that is not a new protocol. */
export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Asks for an upgrade that must be refused. `auth`: the header's values, none without it. */
export function refusedDevice(
  port: number,
  auth: string | readonly string[] | Record<string, Term> | undefined,
  path = '/fedecks/websocket',
): Promise<Refusal> {
  const value = auth === undefined ? undefined : headerOf(auth);
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      port,
      host: '127.0.0.1',
      path,
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        ...(value === undefined ? {} : { 'x-fedecks-auth': value }),
      },
    });
    request.once('upgrade', (_response, socket) => {
      socket.destroy();
      reject(new Error('it was let in'));
    });
    request.once('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.once('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
      });
    });
    request.once('error', reject);
    request.end();
  });
}

/** What is under a text key of a term that is a map. */
export function field(term: Term | undefined, name: string): Term | undefined {
  return term instanceof Map ? term.get(name) : undefined;
}
