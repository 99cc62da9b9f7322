/**
 * Decides whether the server accepts another connection: it checks the connection limits and rejects
 * connections during shutdown.
 */
import { drainingError, LastseenError } from '../errors.ts';
import type { Hub } from './hub.ts';

/** Maximum numbers of connections. */
export interface AdmissionLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAccessId: number;
  readonly maxConnectionsPerPrincipal: number;
}

/** Checks that a gateway makes before it opens a connection. */
export interface Admission {
  /** @throws ERR_DRAINING while the server shuts down */
  requireRunning(): void;
  /**
   * `openSockets` is the number of open sockets, including unauthenticated ones.
   * @throws ERR_TOO_MANY_CONNECTIONS
   */
  requireCapacity(openSockets?: number): void;
  /**
   * Checks all limits for a connection that reads `accessId`. Call it in the step that adds the session to the hub,
   * without a wait between them: clients that wait for the store at the same moment would all pass.
   * @throws ERR_TOO_MANY_CONNECTIONS
   */
  requirePlace(reader: { readonly subject: string; readonly accessId: string }): void;
  /** @throws ERR_TOO_MANY_CONNECTIONS if the principal has reached its limit */
  requirePrincipal(subject: string): void;
  /** @throws ERR_TOO_MANY_CONNECTIONS if the access_id has reached its limit of readers */
  requireReader(accessId: string): void;
}

/** Creates the checks over the sessions of a hub. */
export function createAdmission(hub: Hub, limits: AdmissionLimits, draining: AbortSignal): Admission {
  const admission: Admission = {
    requireRunning() {
      if (draining.aborted) {
        throw drainingError();
      }
    },
    requireCapacity(openSockets = 0) {
      if (hub.sessions.size >= limits.maxConnections || openSockets >= limits.maxConnections) {
        throw tooManyConnections('the server has too many connections');
      }
    },
    requirePlace({ subject, accessId }) {
      admission.requireCapacity();
      admission.requireReader(accessId);
      admission.requirePrincipal(subject);
    },
    requirePrincipal(subject) {
      if (hub.countOf(subject) >= limits.maxConnectionsPerPrincipal) {
        throw tooManyConnections('this principal has too many connections');
      }
    },
    requireReader(accessId) {
      // The number of sessions is an upper bound of the number of readers.
      if (hub.sessions.size < limits.maxConnectionsPerAccessId) {
        return;
      }
      if (hub.countReaders(accessId) >= limits.maxConnectionsPerAccessId) {
        throw tooManyConnections('this access_id has too many readers');
      }
    },
  };
  return admission;
}

function tooManyConnections(reason: string): LastseenError {
  return new LastseenError('ERR_TOO_MANY_CONNECTIONS', `${reason}: retry later`);
}
