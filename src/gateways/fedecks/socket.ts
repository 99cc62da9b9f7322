/**
 * A device's open socket. Frames, infos and timed tokens are dealt with one after the other in the order in which they
 * came, and the socket is not read meanwhile, nor while the device takes nothing (G7): what waits is what one read of
 * the network brings, at most 1,000 infos, and a token. The server never pings: this protocol's clients do, and they
 * need not answer. (Who pings and never reads is ended by `ws`.)
 */
import type { Connection } from '../../delivery/connection.ts';
import type { Hub } from '../../delivery/hub.ts';
import { createSession } from '../../delivery/session.ts';
import { userError } from '../../http/problem.ts';
import type { AcceptedSocket } from '../../http/sockets.ts';
import type { Log } from '../../log/log.ts';
import type { Logger } from '../../logger.ts';
import type { Admitted } from './admission.ts';
import { termFrame, tokenFrame } from './codec.ts';
import type { Answer, Callbacks, DeviceRoom, Holder, Served } from './device-service.ts';
import { decode } from './etf/decode.ts';
import { isCharlist } from './etf/term.ts';
import { createTurns } from './turns.ts';
import { within } from './within.ts';

export interface DeviceSocketOptions {
  readonly log: Log;
  readonly hub: Hub;
  readonly logger: Logger;
  readonly stallTimeoutMs: number;
}

/** Infos that wait for one device. */
const MAX_INFOS = 1_000;

export function serveDevice<H extends Holder>(
  room: DeviceRoom<H>,
  accepted: AcceptedSocket<Admitted<H>>,
  options: DeviceSocketOptions,
): void {
  const { socket, connection, admitted, receivedBytes } = accepted;
  const { hub, logger } = options;
  const { deviceId, holder } = admitted;
  const gone = new AbortController();
  const isOpen = (): boolean => socket.readyState === socket.OPEN;

  // Before the session listens: it fills the buffer again.
  const turns = createTurns({ socket, connection, signal: gone.signal, onFault: fail });
  const session = createSession({
    log: options.log,
    connection: withoutPings(connection),
    principal: holder.principal,
    heartbeat: () => undefined,
    stallTimeoutMs: options.stallTimeoutMs,
    onFault: (error) => {
      userError(error, logger);
    },
    ownFeeds: () => callbacks.feeds?.() ?? [],
    onOvertaken: (error) => callbacks.onOvertaken?.(error),
  });
  const device: Served = {
    deviceId,
    session,
    signal: gone.signal,
    send: (term) => {
      connection.write(termFrame(term));
    },
    inform,
  };
  const callbacks: Callbacks = room.serve(device, holder);

  let infos = 0;
  /** Infos from before the device's first frame, with which everything begins. */
  let early: unknown[] | undefined = [];
  let isTokenDue = false;
  let seenBytes = receivedBytes();

  const refresh = setInterval(() => {
    if (isTokenDue) {
      return;
    }
    isTokenDue = true;
    turns.take(async () => {
      isTokenDue = false;
      await sendToken();
    });
  }, room.refreshMs);
  const idle = setTimeout(() => {
    // A large frame may take longer to come; and what is not read does not count against the device.
    if (receivedBytes() !== seenBytes || turns.isBusy) {
      heardNow();
    } else {
      connection.close('no-pong');
    }
  }, room.idleMs);

  socket.on('message', (data, isBinary) => {
    heardNow();
    const bytes = bytesOf(data);
    if (isBinary) {
      turns.take(() => receive(bytes));
    }
    begin();
  });
  for (const sign of ['ping', 'pong'] as const) {
    socket.on(sign, () => {
      heardNow();
      begin();
    });
  }
  socket.on('close', () => {
    clearInterval(refresh);
    clearTimeout(idle);
    gone.abort();
    hub.remove(session);
  });
  hub.add(session);
  turns.take(() => within(room.idleMs, callbacks.onConnected?.()));

  function heardNow(): void {
    seenBytes = receivedBytes();
    if (!gone.signal.aborted) {
      idle.refresh();
    }
  }

  function begin(): void {
    const waiting = early;
    if (waiting === undefined) {
      return;
    }
    early = undefined;
    turns.take(() => callbacks.onHeard?.());
    for (const info of waiting) {
      takeInfo(info);
    }
  }

  async function receive(bytes: Buffer): Promise<void> {
    const decoded = decode(bytes, { maxBytes: room.maxMessageBytes });
    if (decoded.ok && isCharlist(decoded.term, 'token_please')) {
      await sendToken();
    } else if (decoded.ok) {
      act(await within(room.idleMs, callbacks.onMessage?.(decoded.term)));
    } else {
      act(await within(room.idleMs, callbacks.onRawMessage?.(bytes)));
    }
  }

  function inform(info: unknown): boolean {
    if (!isOpen() || infos >= MAX_INFOS) {
      return false;
    }
    infos += 1;
    if (early === undefined) {
      takeInfo(info);
    } else {
      early.push(info);
    }
    return true;
  }

  function takeInfo(info: unknown): void {
    turns.take(async () => {
      infos -= 1;
      act(await within(room.idleMs, callbacks.onInfo?.(info)));
    });
  }

  /** Of a handler in JavaScript anything may come. */
  function act(answer: Answer): void {
    if (!isOpen() || answer === undefined || answer === 'ok') {
      return;
    }
    if ('reply' in answer) {
      device.send(answer.reply);
    } else if ('push' in answer) {
      device.send(answer.push);
    } else if ('stop' in answer) {
      logger.info({ gateway: room.gateway, device_id: deviceId, reason: answer.stop }, 'device stopped');
      connection.close('dropped');
    } else {
      throw new Error('a device callback must answer "ok", a reply, a push or a stop');
    }
  }

  async function sendToken(): Promise<void> {
    const grant = await within(room.idleMs, callbacks.nameToken());
    connection.write(tokenFrame(await room.tokens.issue(deviceId, grant)));
  }

  function fail(error: unknown): void {
    const { gateway, path } = room;
    logger.error({ err: error, gateway, path, device_id: deviceId }, 'a device callback failed');
    connection.close('fault');
  }
}

function bytesOf(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
}

/** The same wire, but nobody is asked for a sign of life: the idle time looks after that. */
function withoutPings(connection: Connection): Connection {
  return {
    gateway: connection.gateway,
    canPong: false,
    write: connection.write,
    get bufferedBytes() {
      return connection.bufferedBytes;
    },
    get flushedBytes() {
      return connection.flushedBytes;
    },
    onDrain: connection.onDrain,
    ping: () => undefined,
    close: connection.close,
  };
}
