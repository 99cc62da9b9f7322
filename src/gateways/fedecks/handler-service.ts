/** Serves devices with a handler of the application. It appends nothing to the log. */
import { LastseenError, quote } from '../../errors.ts';
import { createPrincipal } from '../../identity/principal.ts';
import { MAX_TIMER_MS, type Runtime } from '../../runtime.ts';
import type { DeviceOwner, DeviceService } from './device-service.ts';
import type { Device, DeviceMount } from './handler.ts';
import { createDeviceTokens } from './tokens.ts';

/**
 * Creates the service of a handler.
 * @throws ERR_REQUEST_INVALID naming the invalid option, without the value of a secret
 */
export function createHandlerService(mount: DeviceMount, { clock, random }: Runtime): DeviceService {
  const { path, handler, secret, salt } = mount;
  const tokenExpirySecs = mount.tokenExpirySecs ?? 2_419_200;
  const tokenRefreshMillis = mount.tokenRefreshMillis ?? 10_800_000;
  const idleTimeoutMillis = mount.idleTimeoutMillis ?? 60_000;
  const maxMessageBytes = mount.maxMessageBytes ?? 1_048_576;
  if (!/^(\/[\w.~-]+)+$/.test(path)) {
    throw invalid('path', `must be a path such as "/boxes/websocket", got ${quote(path)}`);
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

  // The principal has no scopes. It names the device for the connection limits.
  const ownerOf = (deviceId: string): DeviceOwner => ({
    principal: createPrincipal({ subject: `device ${path} ${deviceId}`, issuedAt: clock.now() }),
  });

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
      clock,
    }),
    // The handler must return exactly `true`: an application in JavaScript can return any value.
    login: async (deviceId, credentials) =>
      ((await handler.authenticate(credentials)) as unknown) === true ? ownerOf(deviceId) : undefined,
    resume: (deviceId) => Promise.resolve(ownerOf(deviceId)),
    onError: (deviceId, type, info) => handler.onError?.(deviceId, type, info),
    serve({ deviceId, signal, inform }) {
      const device: Device = { deviceId, signal, inform };
      return {
        issueGrant: random.uuid,
        onConnected: () => handler.onConnected?.(device),
        onMessage: (message) => handler.onMessage?.(device, message),
        onRawMessage: (bytes) => handler.onRawMessage?.(device, bytes),
        onInfo: (info) => handler.onInfo?.(device, info),
      };
    },
  };
}

function requireCount(option: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw invalid(option, `must be an integer from 1 to ${max}, got ${quote(value)}`);
  }
}

function invalid(option: string, fault: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `${option} of a device handler ${fault}`);
}
