/**
 * Control events travel through the log. The service appends changes of users and tokens to the reserved
 * feeds `$users` and `$control`. Every process follows the two feeds and closes the sessions concerned (G10).
 */
import { CONTROL, USERS } from '../identity/feeds.ts';
import type { Revocation } from '../identity/revocations.ts';
import { type LogEvent, serviceEvent } from '../log/event.ts';
import { followFeed } from '../log/follow.ts';
import type { Log } from '../log/log.ts';
import type { Timers } from '../runtime.ts';
import type { Hub } from './hub.ts';

/** The log, the sessions and the listeners. */
export interface ControlOptions {
  readonly log: Log;
  readonly hub: Hub;
  /** Receives each revocation before the hub closes the sessions concerned. */
  readonly onRevoked: (revoked: Revocation) => void;
  readonly onFault: (error: unknown) => void;
  readonly timers: Timers;
}

/**
 * Appends a drop of `accessId`, and resolves after the event is on disk. Every process then closes the
 * connections of the access_id.
 */
export async function dropUser(log: Log, accessId: string): Promise<void> {
  await log.append({ events: [serviceEvent(USERS, { type: 'dropped', access_id: accessId })], key: null });
}

/** Follows the control feeds from the current head. Returns a function that stops it. */
export function followControl(options: ControlOptions): () => void {
  const { log, hub, onRevoked, onFault, timers } = options;
  const stops = [
    followFeed(log, { accessId: USERS, onEvent: handleUserEvent, onFault, timers }),
    followFeed(log, { accessId: CONTROL, onEvent: handleControlEvent, onFault, timers }),
  ];

  function handleUserEvent(event: LogEvent): void {
    const { type, access_id: accessId, id } = payloadOf(event);
    if (type === 'dropped' && typeof accessId === 'string') {
      hub.drop(accessId, event.position);
    }
    if (type === 'removed' && typeof id === 'string') {
      revoke({ subject: id });
    }
  }

  function handleControlEvent(event: LogEvent): void {
    const { type, jti, family, client_id: clientId, subject } = payloadOf(event);
    if (type === 'token_revoked') {
      if (typeof jti === 'string') {
        revoke({ jti });
      }
      if (typeof family === 'string') {
        revoke({ family });
      }
      if (typeof subject === 'string') {
        revoke({ subject });
      }
    } else if (type === 'client_removed' && typeof clientId === 'string') {
      revoke({ client_id: clientId });
    }
  }

  function revoke(revoked: Revocation): void {
    onRevoked(revoked);
    hub.revoke(revoked);
  }

  return () => {
    for (const stop of stops) {
      stop();
    }
  };
}

function payloadOf(event: LogEvent): Readonly<Record<string, unknown>> {
  return JSON.parse(event.payload) as Record<string, unknown>;
}
