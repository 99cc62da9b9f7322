/**
 * A device's open socket. Frames, infos and timed tokens are dealt with one after the other in the order in which they
 * came (G7): what waits is what one read of the network brings, at most 1,000 infos, and a token. The server never pings:
 * this protocol's clients do, and they need not answer. (`ws` ends a peer that pings and never reads.)
 */
import type { Connection } from '../../delivery/connection.ts';
import { createSession } from '../../delivery/session.ts';
import { createTurns } from '../../delivery/turns.ts';
import type { AcceptedSocket } from '../../http/sockets.ts';
import type { Admitted } from './admission.ts';
import { boundCallback } from './callback.ts';
import { termFrame, tokenFrame } from './codec.ts';
import type { Answer, Callbacks, DeviceConnection, DeviceOwner, DeviceService } from './device-service.ts';
import { decode } from './etf/decode.ts';
import { isCharlist } from './etf/term.ts';
import type { FedecksPorts } from './needs.ts';

/** Infos that wait for one device. */
const MAX_INFOS = 1_000;

export function serveDevice<O extends DeviceOwner>(
  service: DeviceService<O>,
  accepted: AcceptedSocket<Admitted<O>>,
  ports: FedecksPorts,
): void {
  const { socket, connection, inbox, admitted, receivedBytes } = accepted;
  const { log, hub, errors, logger, runtime } = ports;
  const { timers } = runtime;
  const { deviceId, owner } = admitted;
  const bounded = <T>(work: T | Promise<T>): Promise<T> => boundCallback(timers, service.idleMs, work);

  const turns = createTurns({ inbox, connection, onFault: fail });
  const session = createSession({
    log,
    connection: withoutPings(connection),
    principal: owner.principal,
    runtime,
    heartbeat: () => undefined,
    stallTimeoutMs: ports.stallTimeoutMs,
    onFault: (error) => {
      errors.report(error);
    },
    otherFeeds: () => callbacks.feeds?.() ?? [],
    onOvertaken: (error) => callbacks.onOvertaken?.(error),
  });
  const device: DeviceConnection = {
    deviceId,
    session,
    signal: inbox.signal,
    send: (term) => {
      connection.write(termFrame(term));
    },
    inform,
  };
  const callbacks: Callbacks = service.serve(device, owner);

  let infos = 0;
  /** Infos from before the device's first frame, with which everything begins. */
  let infosBeforeFirstFrame: unknown[] | undefined = [];
  let isTokenDue = false;
  let seenBytes = receivedBytes();

  const stopRefresh = timers.every(service.refreshMs, () => {
    if (isTokenDue) {
      return;
    }
    isTokenDue = true;
    turns.take(async () => {
      isTokenDue = false;
      await sendToken();
    });
  });
  let cancelIdle = timers.after(service.idleMs, onIdle);

  function onIdle(): void {
    // A large frame may take longer to come; and what is not read does not count against the device.
    if (receivedBytes() !== seenBytes || turns.isBusy) {
      restartIdle();
    } else {
      connection.close('no-pong');
    }
  }

  socket.on('message', (data, isBinary) => {
    restartIdle();
    const bytes = bytesOf(data);
    if (isBinary) {
      turns.take(() => receive(bytes));
    }
    begin();
  });
  for (const sign of ['ping', 'pong'] as const) {
    socket.on(sign, () => {
      restartIdle();
      begin();
    });
  }
  socket.on('close', () => {
    stopRefresh();
    cancelIdle();
    hub.remove(session);
  });
  hub.add(session);
  turns.take(() => bounded(callbacks.onConnected?.()));

  function restartIdle(): void {
    seenBytes = receivedBytes();
    cancelIdle();
    if (!inbox.signal.aborted) {
      cancelIdle = timers.after(service.idleMs, onIdle);
    }
  }

  function begin(): void {
    const waiting = infosBeforeFirstFrame;
    if (waiting === undefined) {
      return;
    }
    infosBeforeFirstFrame = undefined;
    turns.take(() => callbacks.onFirstFrame?.());
    for (const info of waiting) {
      takeInfo(info);
    }
  }

  async function receive(bytes: Buffer): Promise<void> {
    const decoded = decode(bytes, { maxBytes: service.maxMessageBytes });
    if (decoded.ok && isCharlist(decoded.term, 'token_please')) {
      await sendToken();
    } else if (decoded.ok) {
      act(await bounded(callbacks.onMessage?.(decoded.term)));
    } else {
      act(await bounded(callbacks.onRawMessage?.(bytes)));
    }
  }

  function inform(info: unknown): boolean {
    if (!inbox.isOpen || infos >= MAX_INFOS) {
      return false;
    }
    infos += 1;
    if (infosBeforeFirstFrame === undefined) {
      takeInfo(info);
    } else {
      infosBeforeFirstFrame.push(info);
    }
    return true;
  }

  function takeInfo(info: unknown): void {
    turns.take(async () => {
      infos -= 1;
      act(await bounded(callbacks.onInfo?.(info)));
    });
  }

  /** Of a handler in JavaScript anything may come. */
  function act(answer: Answer): void {
    if (!inbox.isOpen || answer === undefined || answer === 'ok') {
      return;
    }
    if ('reply' in answer) {
      device.send(answer.reply);
    } else if ('push' in answer) {
      device.send(answer.push);
    } else if ('stop' in answer) {
      logger.info({ gateway: service.gateway, device_id: deviceId, reason: answer.stop }, 'device stopped');
      connection.close('dropped');
    } else {
      throw new Error('a device callback must answer "ok", a reply, a push or a stop');
    }
  }

  async function sendToken(): Promise<void> {
    const grant = await bounded(callbacks.issueGrant());
    connection.write(tokenFrame(await service.tokens.issue(deviceId, grant)));
  }

  function fail(error: unknown): void {
    const { gateway, path } = service;
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
