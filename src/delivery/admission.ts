/** Whether one more connection may be opened: the limits of connections, and the refusal while the service shuts down. */
import { drainingError, LastseenError } from '../errors.ts';
import type { Hub } from './hub.ts';

export interface AdmissionLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAccessId: number;
  readonly maxConnectionsPerPrincipal: number;
}

export interface Admission {
  /** @throws ERR_DRAINING while the service shuts down */
  requireRunning(): void;
  /** `openSockets` counts those too that are not authenticated yet. @throws ERR_TOO_MANY_CONNECTIONS */
  requireCapacity(openSockets?: number): void;
  /** @throws ERR_TOO_MANY_CONNECTIONS when this principal has as many as it may */
  requirePrincipal(subject: string): void;
  /** @throws ERR_TOO_MANY_CONNECTIONS when as many read this access_id as may */
  requireReader(accessId: string): void;
}

export function createAdmission(hub: Hub, limits: AdmissionLimits, draining: AbortSignal): Admission {
  return {
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
    requirePrincipal(subject) {
      if (hub.countOf(subject) >= limits.maxConnectionsPerPrincipal) {
        throw tooManyConnections('this principal has too many connections');
      }
    },
    requireReader(accessId) {
      // No more connections than this read anything.
      if (hub.sessions.size < limits.maxConnectionsPerAccessId) {
        return;
      }
      if (hub.countReaders(accessId) >= limits.maxConnectionsPerAccessId) {
        throw tooManyConnections('too many connections read this access_id');
      }
    },
  };
}

function tooManyConnections(reason: string): LastseenError {
  return new LastseenError('ERR_TOO_MANY_CONNECTIONS', `${reason}: try again later`);
}
