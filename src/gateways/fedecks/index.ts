/**
 * Fedecks devices: WebSocket /fedecks/websocket on the log, and handlers of applications at paths of their own. Binary
 * frames that hold Erlang terms, both ways.
 */
import { defineGateway } from '../gateway.ts';
import { createDeviceAdmission } from './admission.ts';
import { fedecksDescription } from './description.ts';
import type { DeviceOwner, DeviceService } from './device-service.ts';
import { createHandlerService } from './handler-service.ts';
import { createLogService } from './log-service.ts';
import { type FedecksPorts, needs } from './needs.ts';
import { serveDevice } from './socket.ts';

export const fedecks = defineGateway({
  name: 'fedecks',
  description: fedecksDescription,
  needs,
  mount(ports) {
    mountService(createLogService(ports), ports);
    for (const device of ports.devices) {
      mountService(createHandlerService(device, ports.runtime), ports);
    }
    return undefined;
  },
});

function mountService<O extends DeviceOwner>(service: DeviceService<O>, ports: FedecksPorts): void {
  ports.sockets.route({
    path: service.path,
    gateway: service.gateway,
    maxMessageBytes: service.maxMessageBytes,
    // Subprotocols that clients of other protocols name have no meaning here.
    protocolOf: () => false,
    // As servers of this protocol close: its clients do not look at codes.
    closeCodes: { 'no-pong': [1000, 'idle'] },
    ...createDeviceAdmission(service, ports),
    handle: (accepted) => {
      serveDevice(service, accepted, ports);
    },
  });
}
