/**
 * Appends refusals to `$devices`: at most 60 per minute and process, because unauthenticated clients cause
 * them. The operator's log contains every refusal.
 */
import { serviceEvent } from '../../log/event.ts';
import type { Log } from '../../log/log.ts';
import type { Clock } from '../../runtime.ts';
import type { DeviceHandler } from './handler.ts';

/** The feed of refusals. */
export const DEVICES = '$devices';

const MAX_PER_MINUTE = 60;

/** Returns a function that appends a refusal. */
export function createRefusalsFeed(log: Log, clock: Clock): NonNullable<DeviceHandler['onError']> {
  let minute = 0;
  let count = 0;
  return async (deviceId, type, info) => {
    const now = Math.floor(clock.now() / 60_000);
    if (now !== minute) {
      [minute, count] = [now, 0];
    }
    if ((count += 1) > MAX_PER_MINUTE) {
      return;
    }
    const refused = serviceEvent(DEVICES, { type: 'device_refused', device_id: deviceId, error: type, info });
    await log.append({ events: [refused], key: null });
  };
}
