/**
 * The readers: a process with any number of WebSockets that upgrades by hand and only counts events, by the mark
 * that stands once in each payload. It also pushes where the time between push and receipt is the figure, so that
 * both ends are on one clock.
 */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { percentile } from './stats.ts';
import { openWire } from './wire.ts';
import { eventText, MARK, pushRequest } from './workload.ts';

interface Target {
  readonly port: number;
  /** Where events are pushed, if it is another node. */
  readonly pushPort?: number;
  readonly accessId: string;
  /** A server that sends frames to every socket, without subscriptions. */
  readonly isBare: boolean;
}

export type SocketsJob = Target &
  (
    | { readonly kind: 'idle'; readonly sockets: number }
    /** The next push goes when the last one is answered and all but the last `ahead` were received everywhere. */
    | {
        readonly kind: 'turns';
        readonly sockets: number;
        readonly ahead: number;
        readonly batch: number;
        readonly seconds: number;
      }
    /** So many single events a second, whatever comes back. */
    | { readonly kind: 'paced'; readonly sockets: number; readonly rate: number; readonly seconds: number }
    /** Everything from the start, until `events` have come. */
    | { readonly kind: 'catch-up'; readonly events: number }
    /** A subscription by time; until its first frame. */
    | { readonly kind: 'timestamp'; readonly timestamp: number }
  );

export interface SocketsResult {
  /** Events received a second, all sockets together. */
  readonly perSecond: number;
  /** From the push until its event was received. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const [MARK_0 = 0, MARK_1 = 0] = Buffer.from(MARK);
const CONNECT_AT_ONCE = 100;
const PUSH_WIRES = 16;
const WARM_MS = 500;

const shared = Buffer.allocUnsafe(256 * 1024);

interface Reader {
  /** Called with the number of events of each chunk. */
  onEvents: (count: number) => void;
  readonly socket: Socket;
}

/** Connects and subscribes; resolves when the server has said `until`. */
function openReader(target: Target, message: object, until: string): Promise<Reader> {
  return new Promise((resolve, reject) => {
    let opening = '';
    let isOpen = false;
    let isUpgraded = false;
    let endsInMark = false;
    const reader: Reader = {
      onEvents: () => undefined,
      socket: connect({
        port: target.port,
        host: '127.0.0.1',
        noDelay: true,
        onread: {
          buffer: shared,
          callback: (bytes) => {
            if (isOpen) {
              count(bytes);
            } else {
              read(bytes);
            }
            return true;
          },
        },
      }),
    };

    function read(bytes: number): void {
      opening += shared.toString('latin1', 0, bytes);
      if (!isUpgraded && opening.includes('\r\n\r\n')) {
        isUpgraded = true;
        if (!opening.startsWith('HTTP/1.1 101')) {
          reject(new Error(`no upgrade: ${opening}`));
        }
        if (!target.isBare) {
          reader.socket.write(maskedFrame(JSON.stringify(message)));
        }
      }
      if (isUpgraded && (target.isBare || opening.includes(until))) {
        opening = '';
        isOpen = true;
        resolve(reader);
      }
    }

    function count(bytes: number): void {
      let events = endsInMark && shared[0] === MARK_1 ? 1 : 0;
      const end = shared.subarray(0, bytes);
      for (let at = end.indexOf(MARK_0); at !== -1; at = end.indexOf(MARK_0, at + 1)) {
        if (shared[at + 1] === MARK_1 && at + 1 < bytes) {
          events += 1;
        }
      }
      endsInMark = shared[bytes - 1] === MARK_0;
      if (events > 0) {
        reader.onEvents(events);
      }
    }

    reader.socket.once('error', reject);
    reader.socket.once('close', () => {
      reject(new Error('a socket was closed'));
    });
    reader.socket.write(
      'GET /subscribe_to_events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer bench\r\n' +
        'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
    );
  });
}

/** A text frame of a client (RFC 6455 §5.2) with a mask of zeros. */
function maskedFrame(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length > 125) {
    throw new Error('too long for a short frame');
  }
  return Buffer.concat([Buffer.from([0x81, 0x80 | bytes.length, 0, 0, 0, 0]), bytes]);
}

async function openReaders(job: Target, count: number): Promise<Reader[]> {
  const readers: Reader[] = [];
  while (readers.length < count) {
    const some = Math.min(CONNECT_AT_ONCE, count - readers.length);
    const message = { access_id: job.accessId, after: 'now' };
    readers.push(
      ...(await Promise.all(Array.from({ length: some }, () => openReader(job, message, '"type":"live"')))),
    );
  }
  return readers;
}

async function turns(job: SocketsJob & { kind: 'turns' }): Promise<SocketsResult> {
  const readers = await openReaders(job, job.sockets);
  const wire = await openWire(job.pushPort ?? job.port);
  const request = pushRequest(
    `[${Array.from({ length: job.batch }, () => eventText(job.accessId)).join(',')}]`,
  );
  // The bare server knows no batches: one frame a push.
  const expected = job.sockets * (job.isBare ? 1 : job.batch);
  const tookMs: number[] = [];
  let received = 0;
  const seconds = await new Promise<number>((resolve) => {
    const warmUntil = performance.now() + WARM_MS;
    let start = 0;
    let sentAt = 0;
    let missing = 0;
    let isAnswered = true;
    const turn = (): void => {
      if (!isAnswered || missing > expected * job.ahead) {
        return;
      }
      const now = performance.now();
      if (start === 0 && now > warmUntil) {
        start = now;
        received = 0;
      }
      if (start > 0 && now - start > job.seconds * 1_000) {
        resolve((now - start) / 1_000);
        return;
      }
      missing += expected;
      isAnswered = false;
      sentAt = now;
      wire.send(request, () => {
        isAnswered = true;
        turn();
      });
    };
    for (const reader of readers) {
      reader.onEvents = (count) => {
        missing -= count;
        received += count;
        if (missing === 0 && start > 0) {
          tookMs.push(performance.now() - sentAt);
        }
        turn();
      };
    }
    turn();
  });
  return {
    perSecond: received / seconds,
    p50Ms: percentile(tookMs, 0.5),
    p99Ms: percentile(tookMs, 0.99),
  };
}

async function paced(job: SocketsJob & { kind: 'paced' }): Promise<SocketsResult> {
  const readers = await openReaders(job, job.sockets);
  const wires = await Promise.all(
    Array.from({ length: PUSH_WIRES }, () => openWire(job.pushPort ?? job.port)),
  );
  const request = pushRequest(`[${eventText(job.accessId)}]`);
  const sentAt: number[] = [];
  const tookMs: number[] = [];
  const total = Math.round(job.rate * job.seconds);
  const warm = Math.round(total / 4);
  let missing = total * job.sockets;
  const start = performance.now();
  await new Promise<void>((resolve) => {
    for (const reader of readers) {
      let had = 0;
      reader.onEvents = (count) => {
        const now = performance.now();
        for (let n = 0; n < count; n += 1) {
          if (had >= warm) {
            tookMs.push(now - (sentAt[had] ?? now));
          }
          had += 1;
        }
        missing -= count;
        if (missing === 0) {
          resolve();
        }
      };
    }
    const free = [...wires];
    const timer = setInterval(() => {
      const due = Math.min(total, ((performance.now() - start) / 1_000) * job.rate);
      while (sentAt.length < due) {
        const wire = free.pop();
        if (wire === undefined) {
          break;
        }
        sentAt.push(performance.now());
        wire.send(request, () => free.push(wire));
      }
      if (sentAt.length >= total) {
        clearInterval(timer);
      }
    }, 1);
  });
  return {
    perSecond: (total * job.sockets) / ((performance.now() - start) / 1_000),
    p50Ms: percentile(tookMs, 0.5),
    p99Ms: percentile(tookMs, 0.99),
  };
}

async function catchUp(job: SocketsJob & { kind: 'catch-up' }): Promise<SocketsResult> {
  const reader = await openReader({ ...job }, { access_id: job.accessId, after: 'now' }, '"type":"live"');
  // The socket is open and warm; only the second subscription is timed.
  let missing = job.events;
  const start = performance.now();
  await new Promise<void>((resolve) => {
    reader.onEvents = (count) => {
      missing -= count;
      if (missing <= 0) {
        resolve();
      }
    };
    reader.socket.write(maskedFrame(JSON.stringify({ type: 'unsubscribe', access_id: job.accessId })));
    reader.socket.write(
      maskedFrame(JSON.stringify({ type: 'subscribe', access_id: job.accessId, after: 'start' })),
    );
  });
  const tookMs = performance.now() - start;
  return { perSecond: job.events / (tookMs / 1_000), p50Ms: tookMs, p99Ms: tookMs };
}

async function byTimestamp(job: SocketsJob & { kind: 'timestamp' }): Promise<SocketsResult> {
  const start = performance.now();
  const message = { access_id: job.accessId, after: null, timestamp: job.timestamp };
  await openReader(job, message, '"type":"subscribed"');
  const tookMs = performance.now() - start;
  return { perSecond: 0, p50Ms: tookMs, p99Ms: tookMs };
}

async function idle(job: SocketsJob & { kind: 'idle' }): Promise<SocketsResult> {
  await openReaders(job, job.sockets);
  return { perSecond: 0, p50Ms: 0, p99Ms: 0 };
}

function run(job: SocketsJob): Promise<SocketsResult> {
  switch (job.kind) {
    case 'idle':
      return idle(job);
    case 'turns':
      return turns(job);
    case 'paced':
      return paced(job);
    case 'catch-up':
      return catchUp(job);
    case 'timestamp':
      return byTimestamp(job);
  }
}

process.send?.(await run(JSON.parse(process.argv[2] ?? '') as SocketsJob));
