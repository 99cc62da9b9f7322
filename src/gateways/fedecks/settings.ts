import { Count, LongSecret, secret, setting, TimerSeconds, toMs } from '../../settings.ts';

/** Settings of the gateway. */
export const fedecksSettings = {
  LASTSEEN_DEVICE_SECRET: secret(
    'deviceSecret',
    'encrypts device tokens; the same on every node. Not set: the server makes a secret and stores it in the database',
    LongSecret.optional(),
  ),
  LASTSEEN_DEVICE_TOKEN_SECONDS: setting(
    'deviceTokenSeconds',
    'life of a device token',
    Count.max(10 * 365 * 86_400).default(28 * 86_400),
  ),
  LASTSEEN_DEVICE_REFRESH_SECONDS: setting(
    'deviceRefreshMs',
    'how often a device receives a new token',
    TimerSeconds.default(3 * 3_600).transform(toMs),
  ),
  LASTSEEN_DEVICE_IDLE_SECONDS: setting(
    'deviceIdleMs',
    'a device that sends nothing for this time is closed',
    TimerSeconds.default(60).transform(toMs),
  ),
};
