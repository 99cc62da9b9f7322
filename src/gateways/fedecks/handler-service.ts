/** An application's own handler as a room: nothing of it reaches the log of events. */
import { randomUUID } from 'node:crypto';
import { LastseenError, shown } from '../../errors.ts';
import { createPrincipal, type Principal } from '../../identity/principal.ts';
import type { DeviceRoom, Holder } from './device-service.ts';
import type { Device, DeviceMount } from './handler.ts';
import { createDeviceTokens } from './tokens.ts';

/** @throws ERR_REQUEST_INVALID naming the option that is wrong; never a secret's value */
export function createHandlerRoom(mount: DeviceMount): DeviceRoom {
  const { path, handler, secret, salt } = mount;
  const tokenExpirySecs = mount.tokenExpirySecs ?? 2_419_200;
  const tokenRefreshMillis = mount.tokenRefreshMillis ?? 10_800_000;
  const idleTimeoutMillis = mount.idleTimeoutMillis ?? 60_000;
  const maxMessageBytes = mount.maxMessageBytes ?? 1_048_576;
  if (!/^(\/[\w.~-]+)+$/.test(path)) {
    throw invalid('path', `must be a path such as "/boxes/websocket", got ${shown(path)}`);
  }
  if (secret.length < 16) {
    throw invalid('secret', 'must have at least 16 characters');
  }
  if (salt === '') {
    throw invalid('salt', 'must not be empty');
  }
  requireCount('tokenExpirySecs', tokenExpirySecs, 315_360_000);
  requireCount('tokenRefreshMillis', tokenRefreshMillis, MAX_TIMER_MS);
  requireCount('idleTimeoutMillis', idleTimeoutMillis, MAX_TIMER_MS);
  requireCount('maxMessageBytes', maxMessageBytes, 10_000_000);

  const holderOf = (deviceId: string): Holder => ({ principal: principalOf(path, deviceId) });

  return {
    path,
    gateway: 'devices',
    refreshMs: tokenRefreshMillis,
    idleMs: idleTimeoutMillis,
    maxMessageBytes,
    tokens: createDeviceTokens({
      secret: () => Promise.resolve(secret),
      salt,
      expirySeconds: tokenExpirySecs,
    }),
    // Nothing but `true` lets in: an application may be written in JavaScript.
    login: async (deviceId, credentials) =>
      ((await handler.authenticate(credentials)) as unknown) === true ? holderOf(deviceId) : undefined,
    comeBack: (deviceId) => Promise.resolve(holderOf(deviceId)),
    onError: (deviceId, type, info) => handler.onError?.(deviceId, type, info),
    serve({ deviceId, signal, inform }) {
      const device: Device = { deviceId, signal, inform };
      return {
        nameToken: () => randomUUID(),
        onConnected: () => handler.onConnected?.(device),
        onMessage: (message) => handler.onMessage?.(device, message),
        onRawMessage: (bytes) => handler.onRawMessage?.(device, bytes),
        onInfo: (info) => handler.onInfo?.(device, info),
      };
    },
  };
}

/** What a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function requireCount(option: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw invalid(option, `must be an integer from 1 to ${max}, got ${shown(value)}`);
  }
}

function invalid(option: string, fault: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `${option} of a device handler ${fault}`);
}

/** Allows nothing of ours: it only names the device for the limits of connections. */
function principalOf(path: string, deviceId: string): Principal {
  const subject = `device ${path} ${deviceId}`;
  return createPrincipal({ subject, scopes: new Set(), accessIds: [], issuedAt: Date.now() });
}
