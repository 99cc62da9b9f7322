/** Phoenix channels at /socket/websocket, for the official clients: users' notifications, any feed, presence. */
import type { Hub } from '../../delivery/hub.ts';
import type { Guards } from '../../http/guards.ts';
import { userError } from '../../http/problem.ts';
import type { Limits } from '../../http/rate-limits.ts';
import type { Sockets } from '../../http/sockets.ts';
import type { Users } from '../../identity/users.ts';
import type { Log } from '../../log/log.ts';
import type { Logger } from '../../logger.ts';
import type { Peers } from '../../peers.ts';
import { type Admission, admit, refusalOf } from './admission.ts';
import { type Broadcasts, createBroadcasts } from './broadcasts.ts';
import { createPresence, type Presence } from './presence.ts';
import { servePhoenix } from './socket.ts';

export interface PhoenixOptions {
  readonly sockets: Sockets;
  readonly guards: Guards;
  readonly users: Users;
  readonly limits: Limits;
  readonly log: Log;
  readonly peers: Peers;
  readonly hub: Hub;
  readonly logger: Logger;
  readonly maxPayloadBytes: number;
  readonly maxConnectionsPerPrincipal: number;
  readonly stallTimeoutMs: number;
  /** Whether the UUID of a registered user opens a socket. */
  readonly isUserTokenAllowed: boolean;
  readonly hasPresence: boolean;
}

export interface PhoenixRoom extends PhoenixOptions {
  readonly broadcasts: Broadcasts;
  readonly presence: Presence;
}

/** What surrounds a payload in a frame. */
const ENVELOPE_BYTES = 64 * 1024;

/** Returns how to stop. */
export function mountPhoenix(options: PhoenixOptions): () => void {
  const { logger } = options;
  const broadcasts = createBroadcasts(options.log, (error) => {
    userError(error, logger);
  });
  const presence = createPresence(options.peers, (topic, diff) => {
    broadcasts.tell(topic, 'presence_diff', { json: diff }, (member) => member.presenceRef !== undefined);
  });
  const room: PhoenixRoom = { ...options, broadcasts, presence };
  options.sockets.route<Admission>({
    path: '/socket/websocket',
    gateway: 'phoenix',
    maxMessageBytes: options.maxPayloadBytes + ENVELOPE_BYTES,
    admit: (request) => admit(request, options),
    protocolOf: (offered) => ['phoenix', 'lastseen'].find((name) => offered.has(name)) ?? false,
    refusalOf: (error) => refusalOf(error, logger),
    closeCodes: {
      // The clients come back after these, and are refused with 403 if they may not.
      dropped: [1001, 'going away'],
      'token-revoked': [1001, 'going away'],
      'bad-first-message': [1008, 'this is no message'],
    },
    handle: (accepted) => {
      servePhoenix(accepted, room);
    },
  });
  return () => {
    broadcasts.stop();
    presence.stop();
  };
}
