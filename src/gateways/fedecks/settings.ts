import { Count, LongSecret, secret, setting, TimerSeconds, toMs } from '../../settings.ts';

export const fedecksSettings = {
  LASTSEEN_DEVICE_SECRET: secret(
    'deviceSecret',
    'Encrypts the tokens of devices. Without it the server makes a secret at its first use and keeps it in the database.',
    LongSecret.optional(),
  ),
  LASTSEEN_DEVICE_TOKEN_SECONDS: setting(
    'deviceTokenSeconds',
    'Seconds that a token of a device is valid.',
    Count.max(10 * 365 * 86_400).default(28 * 86_400),
  ),
  LASTSEEN_DEVICE_REFRESH_SECONDS: setting(
    'deviceRefreshMs',
    'Seconds after which a connected device receives a new token, again and again.',
    TimerSeconds.default(3 * 3_600).transform(toMs),
  ),
  LASTSEEN_DEVICE_IDLE_SECONDS: setting(
    'deviceIdleMs',
    'Seconds of silence after which the server closes the connection of a device.',
    TimerSeconds.default(60).transform(toMs),
  ),
};
