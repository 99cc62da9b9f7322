/**
 * The real server seen from below the clients: bytes on a TCP connection, frames as they stand on the wire, records
 * of an event stream, and the rows of the log. `service.ts` starts it.
 */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import Database from 'better-sqlite3';
import { type Service, TOKEN } from './service.ts';
import { PATIENCE_MS } from './until.ts';

/** A TCP connection on which anything may be written. */
export interface Wire {
  write(bytes: string | Uint8Array): void;
  /** All that came so far, as Latin-1, once it fits; fails when the connection ends before. */
  until(fits: (received: string) => boolean): Promise<string>;
  /** All that came, once the server has closed the connection. */
  ended(): Promise<string>;
  /** Leaves without a word. */
  cut(): void;
}

export async function openWire(port: number): Promise<Wire> {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  let isClosed = false;
  const watchers = new Set<() => void>();
  const look = (): void => {
    for (const watcher of [...watchers]) {
      watcher();
    }
  };
  socket.setEncoding('latin1');
  socket.on('data', (data: string) => {
    received += data;
    look();
  });
  socket.on('close', () => {
    isClosed = true;
    look();
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  socket.on('error', () => undefined);

  function wait(isDone: () => boolean, what: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const finish = (error?: Error): void => {
        watchers.delete(watch);
        clearTimeout(timer);
        if (error === undefined) {
          resolve(received);
        } else {
          reject(error);
        }
      };
      const watch = (): void => {
        if (isDone()) {
          finish();
        } else if (isClosed) {
          finish(new Error(`closed before ${what}; received: ${received.slice(0, 500)}`));
        }
      };
      const timer = setTimeout(() => {
        finish(new Error(`no ${what} in time; received: ${received.slice(0, 500)}`));
      }, PATIENCE_MS);
      watchers.add(watch);
      watch();
    });
  }

  return {
    write(bytes) {
      socket.write(bytes);
    },
    until: (fits) => wait(() => fits(received), 'what was waited for'),
    ended: () => wait(() => isClosed, 'end'),
    cut() {
      socket.destroy();
    },
  };
}

/** The lines of a request up to its body, with a token and a host. */
export function requestHead(port: number, line: string, ...headers: string[]): string {
  const all = [line, `Host: 127.0.0.1:${port}`, `Authorization: Bearer ${TOKEN}`, ...headers];
  return `${all.join('\r\n')}\r\n\r\n`;
}

/** What a client asks an upgrade with. */
export const UPGRADE = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];

/** A WebSocket whose frames the test makes by hand: the handshake is done. */
export async function openFrameWire(port: number): Promise<Wire> {
  const wire = await openWire(port);
  wire.write(requestHead(port, 'GET /subscribe_to_events HTTP/1.1', ...UPGRADE));
  await wire.until((received) => received.startsWith('HTTP/1.1 101 ') && received.includes('\r\n\r\n'));
  return wire;
}

export interface FrameParts {
  readonly opcode?: number;
  readonly isFinal?: boolean;
  /** The three reserved bits. */
  readonly reserved?: number;
  readonly isMasked?: boolean;
}

/** A client's frame (RFC 6455 §5.2), right or wrong as asked. */
export function clientFrame(payload: string | Uint8Array, parts: FrameParts = {}): Buffer {
  const { opcode = 1, isFinal = true, reserved = 0, isMasked = true } = parts;
  const body = Buffer.from(payload);
  const mask = isMasked ? randomBytes(4) : Buffer.alloc(0);
  const short = body.length < 126;
  const head = Buffer.alloc(short ? 2 : 10);
  head[0] = (isFinal ? 0x80 : 0) | (reserved << 4) | opcode;
  head[1] = (isMasked ? 0x80 : 0) | (short ? body.length : 127);
  if (!short) {
    head.writeBigUInt64BE(BigInt(body.length), 2);
  }
  const sent = isMasked ? body.map((byte, at) => byte ^ (mask[at % 4] ?? 0)) : body;
  return Buffer.concat([head, mask, sent]);
}

/** The code of the close frame that ends what was received (unmasked, without or with a reason), if there is one. */
export function closeCodeIn(received: string): number | undefined {
  const bytes = Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1');
  let at = 0;
  while (at + 2 <= bytes.length) {
    const first = bytes[at] ?? 0;
    let length = (bytes[at + 1] ?? 0) & 0x7f;
    at += 2;
    if (length === 126) {
      length = bytes.readUInt16BE(at);
      at += 2;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at));
      at += 8;
    }
    if ((first & 0x0f) === 8) {
      return length >= 2 ? bytes.readUInt16BE(at) : 1005;
    }
    at += length;
  }
  return undefined;
}

/** An event stream that is being read. */
export interface EventStream {
  readonly response: Response;
  /** All that came so far, once it fits. */
  until(fits: (text: string) => boolean): Promise<string>;
  close(): Promise<void>;
}

export async function openEventStream(
  service: Service,
  path: string,
  headers: Record<string, string> = {},
): Promise<EventStream> {
  const abort = new AbortController();
  const response = await service.fetch(path, {
    headers: { Accept: 'text/event-stream', ...headers },
    signal: AbortSignal.any([abort.signal, AbortSignal.timeout(PATIENCE_MS)]),
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  return {
    response,
    async until(fits) {
      while (!fits(text)) {
        const read = await reader?.read();
        if (read?.value === undefined) {
          throw new Error(`the stream ended; it was: ${text.slice(0, 500)}`);
        }
        text += read.value;
      }
      return text;
    },
    async close() {
      await reader?.cancel();
      abort.abort();
    },
  };
}

/** A row of the log, in the order of the log. */
export interface LogRow {
  readonly position: number;
  readonly access_id: string;
  readonly version: number;
  readonly created_at: number;
  readonly payload: string;
}

/** The whole log, as it is on disk: what the service keeps for itself (`$…`) included. */
export function logOf(service: Service): LogRow[] {
  const db = new Database(service.databasePath, { readonly: true });
  try {
    return db
      .prepare<[], LogRow>(
        'select position, access_id, version, created_at, payload from events order by position',
      )
      .all();
  } finally {
    db.close();
  }
}
