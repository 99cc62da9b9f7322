/**
 * The room of Fedecks devices: WebSocket /fedecks/websocket on the log, and handlers of applications at paths of their
 * own. Binary frames that hold Erlang terms, both ways.
 */
import type { Sockets } from '../../http/sockets.ts';
import { createGate, type GateOptions } from './admission.ts';
import type { DeviceRoom, Holder } from './device-service.ts';
import type { DeviceMount } from './handler.ts';
import { createHandlerRoom } from './handler-service.ts';
import { createLogRoom, type LogRoomOptions } from './log-service.ts';
import { serveDevice } from './socket.ts';

export type { DeviceMount } from './handler.ts';

export interface FedecksOptions extends LogRoomOptions, GateOptions {
  readonly sockets: Sockets;
  readonly stallTimeoutMs: number;
  /** Handlers of the application that has started the server. */
  readonly devices: readonly DeviceMount[];
}

/** @throws ERR_REQUEST_INVALID when a handler cannot be mounted so */
export function mountFedecks(options: FedecksOptions): void {
  mount(createLogRoom(options), options);
  for (const device of options.devices) {
    mount(createHandlerRoom(device), options);
  }
}

function mount<H extends Holder>(room: DeviceRoom<H>, options: FedecksOptions): void {
  options.sockets.route({
    path: room.path,
    gateway: room.gateway,
    maxMessageBytes: room.maxMessageBytes,
    // What was named by clients of other protocols has no meaning here.
    protocolOf: () => false,
    // As servers of this protocol close: nothing in its clients looks at codes.
    closeCodes: { 'no-pong': [1000, 'idle'] },
    ...createGate(room, options),
    handle: (accepted) => {
      serveDevice(room, accepted, options);
    },
  });
}
