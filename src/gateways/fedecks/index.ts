/**
 * Fedecks devices: WebSocket /fedecks/websocket on the log, and handlers of the application at their own
 * paths. Both directions use binary frames with Erlang terms.
 */
import { defineGateway } from '../gateway.ts';
import { createDeviceAdmission } from './admission.ts';
import { fedecksDescription } from './description.ts';
import type { DeviceOwner, DeviceService } from './device-service.ts';
import { createHandlerService } from './handler-service.ts';
import { createLogService } from './log-service.ts';
import { type FedecksPorts, needs } from './needs.ts';
import { serveDevice } from './socket.ts';

/** The Fedecks gateway. */
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
    // The server selects no subprotocol: the offers of clients have no meaning in this protocol.
    protocolOf: () => false,
    // Servers of this protocol close with 1000, and its clients ignore the code.
    closeCodes: { 'no-pong': [1000, 'idle'] },
    ...createDeviceAdmission(service, ports),
    subjectOf: ({ owner }) => owner.principal.subject,
    handle: (accepted) => {
      serveDevice(service, accepted, ports);
    },
  });
}
