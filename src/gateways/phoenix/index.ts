/**
 * Phoenix channels at /socket/websocket, for the official clients: notifications of users, any feed, and
 * presence.
 */
import { defineGateway } from '../gateway.ts';
import { admit, type Admitted, refusalOf } from './admission.ts';
import { createBroadcasts } from './broadcasts.ts';
import { phoenixDescription } from './description.ts';
import { needs } from './needs.ts';
import { createPresence } from './presence.ts';
import { servePhoenix } from './socket.ts';

/** Maximum bytes of a frame beside its payload. */
const ENVELOPE_BYTES = 64 * 1024;

/** The Phoenix gateway. */
export const phoenix = defineGateway({
  name: 'phoenix',
  description: phoenixDescription,
  needs,
  mount(ports) {
    const { log, errors, peers, runtime } = ports;
    const broadcasts = createBroadcasts(log, {
      timers: runtime.timers,
      onFault: (error) => {
        errors.report(error);
      },
    });
    const presence = createPresence({
      peers,
      runtime,
      onDiff(topic, diff) {
        broadcasts.broadcast({
          topic,
          event: 'presence_diff',
          payload: { json: diff },
          isRecipient: (member) => member.presenceRef !== undefined,
        });
      },
    });
    const context = { ...ports, broadcasts, presence };
    ports.sockets.route<Admitted>({
      path: '/socket/websocket',
      gateway: 'phoenix',
      maxMessageBytes: ports.maxPayloadBytes + ENVELOPE_BYTES,
      admit: (request) => admit(request, ports),
      protocolOf: (offered) => ['phoenix', 'lastseen'].find((name) => offered.has(name)) ?? false,
      refusalOf: (error) => refusalOf(errors.report(error)),
      closeCodes: {
        // The official clients reconnect after these codes, and receive 403 if they may not.
        dropped: [1001, 'going away'],
        'token-revoked': [1001, 'going away'],
        'bad-first-message': [1008, 'this is no message'],
      },
      subjectOf: ({ principal }) => principal.subject,
      handle: (accepted) => {
        servePhoenix(accepted, context);
      },
    });
    return () => {
      broadcasts.stop();
      presence.stop();
    };
  },
});
