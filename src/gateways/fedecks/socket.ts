/**
 * The open socket of a device. It handles frames, infos and new tokens one at a time, in order of arrival
 * (G7). The queue is bounded: one read of the network, 1,000 infos and one token. The server sends no pings,
 * because clients of this protocol need not answer them; the clients ping. `ws` closes a peer that pings and
 * does not read.
 */
import type { Connection } from '../../delivery/connection.ts';
import { createSession } from '../../delivery/session.ts';
import { createTurns } from '../../delivery/turns.ts';
import type { AcceptedSocket } from '../../http/sockets.ts';
import type { Admitted } from './admission.ts';
import { boundCallback } from './callback.ts';
import { termFrame, tokenFrame } from './codec.ts';
import type {
  CallbackResult,
  Callbacks,
  DeviceConnection,
  DeviceOwner,
  DeviceService,
} from './device-service.ts';
import { decode } from './etf/decode.ts';
import { isCharlist } from './etf/term.ts';
import type { FedecksPorts } from './needs.ts';

/** Maximum number of waiting infos of a device. */
const MAX_INFOS = 1_000;

/** Serves an admitted device. */
export function serveDevice<O extends DeviceOwner>(
  service: DeviceService<O>,
  accepted: AcceptedSocket<Admitted<O>>,
  ports: FedecksPorts,
): void {
  const { socket, connection, inbox, admitted, receivedBytes } = accepted;
  const { log, hub, errors, logger, runtime } = ports;
  const { timers } = runtime;
  const { deviceId, owner } = admitted;
  const withinIdleTime = <T>(work: T | Promise<T>): Promise<T> => boundCallback(timers, service.idleMs, work);

  const turns = createTurns({ inbox, connection, timers: runtime.timers, onFault: handleFailure });
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
  /**
   * Infos before the first frame of the device; `undefined` after it. The server sends nothing before the
   * first frame.
   */
  let infosBeforeFirstFrame: unknown[] | undefined = [];
  let isTokenDue = false;
  let lastReceivedBytes = receivedBytes();

  const stopRefresh = timers.every(service.refreshMs, () => {
    if (isTokenDue) {
      return;
    }
    isTokenDue = true;
    turns.enqueue(async () => {
      isTokenDue = false;
      await sendToken();
    });
  });
  let cancelIdle = timers.after(service.idleMs, onIdle);

  function onIdle(): void {
    // A large frame may still be arriving. A paused socket does not count as idle.
    if (receivedBytes() !== lastReceivedBytes || turns.isBusy) {
      restartIdle();
    } else {
      connection.close('no-pong');
    }
  }

  socket.on('message', (data, isBinary) => {
    restartIdle();
    const bytes = bytesOf(data);
    if (isBinary) {
      turns.enqueue(() => receive(bytes));
    }
    handleFirstFrame();
  });
  for (const frameType of ['ping', 'pong'] as const) {
    socket.on(frameType, () => {
      restartIdle();
      handleFirstFrame();
    });
  }
  socket.on('close', () => {
    stopRefresh();
    cancelIdle();
    hub.remove(session);
  });
  hub.add(session);
  turns.enqueue(() => withinIdleTime(callbacks.onConnected?.()));

  function restartIdle(): void {
    lastReceivedBytes = receivedBytes();
    cancelIdle();
    if (!inbox.signal.aborted) {
      cancelIdle = timers.after(service.idleMs, onIdle);
    }
  }

  function handleFirstFrame(): void {
    const queuedInfos = infosBeforeFirstFrame;
    if (queuedInfos === undefined) {
      return;
    }
    infosBeforeFirstFrame = undefined;
    turns.enqueue(() => callbacks.onFirstFrame?.());
    for (const info of queuedInfos) {
      takeInfo(info);
    }
  }

  async function receive(bytes: Buffer): Promise<void> {
    const decoded = decode(bytes, { maxBytes: service.maxMessageBytes });
    if (decoded.ok && isCharlist(decoded.term, 'token_please')) {
      await sendToken();
    } else if (decoded.ok) {
      applyResult(await withinIdleTime(callbacks.onMessage?.(decoded.term)));
    } else {
      applyResult(await withinIdleTime(callbacks.onRawMessage?.(bytes)));
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
    turns.enqueue(async () => {
      infos -= 1;
      applyResult(await withinIdleTime(callbacks.onInfo?.(info)));
    });
  }

  /** Applies the result of a callback. A handler in JavaScript can return any value. */
  function applyResult(result: CallbackResult): void {
    if (!inbox.isOpen || result === undefined || result === 'ok') {
      return;
    }
    if ('reply' in result) {
      device.send(result.reply);
    } else if ('push' in result) {
      device.send(result.push);
    } else if ('stop' in result) {
      logger.info({ gateway: service.gateway, device_id: deviceId, reason: result.stop }, 'device stopped');
      connection.close('dropped');
    } else {
      throw new Error('a device callback must return "ok", {reply}, {push} or {stop}');
    }
  }

  async function sendToken(): Promise<void> {
    const grant = await withinIdleTime(callbacks.issueGrant());
    connection.write(tokenFrame(await service.tokens.issue(deviceId, grant)));
  }

  function handleFailure(error: unknown): void {
    const { gateway, path } = service;
    logger.error({ err: error, gateway, path, device_id: deviceId }, 'a device callback failed');
    connection.close('fault');
  }
}

function bytesOf(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
}

/** Returns the same connection without pings. The idle time replaces them. */
function withoutPings(connection: Connection): Connection {
  return {
    gateway: connection.gateway,
    canPong: false,
    write: connection.write,
    get bufferedBytes() {
      return connection.bufferedBytes;
    },
    get isFull() {
      return connection.isFull;
    },
    get flushedBytes() {
      return connection.flushedBytes;
    },
    onDrain: connection.onDrain,
    ping: () => undefined,
    close: connection.close,
  };
}
