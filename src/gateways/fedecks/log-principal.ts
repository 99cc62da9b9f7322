/**
 * The permissions of a device on the log: the part of the permissions of its client that concerns the device.
 */
import type { ClientRecord } from '../../identity/client-store.ts';
import { ANYONE, createPrincipal, isSubset, type Principal, type Scope } from '../../identity/principal.ts';
import type { TokenRecord } from '../../identity/token-store.ts';

/** The client and the grant of a device. */
export interface DevicePrincipalOptions {
  /** `undefined`: the service runs without authentication. */
  readonly client: ClientRecord | undefined;
  /** A time before the caller read the client and the grant. */
  readonly issuedAt: number;
  readonly grant?: TokenRecord;
}

const SCOPES = ['subscribe', 'push'] as const;

/**
 * Returns the principal of a device; `undefined` if the client does not cover the device. Without a client
 * (authentication is off) the device has all permissions of a device.
 */
export function devicePrincipal(
  deviceId: string,
  { client, issuedAt, grant }: DevicePrincipalOptions,
): Principal | undefined {
  const granted = new Set(client === undefined ? ANYONE.scopes : client.scope.split(' '));
  const scopes = new Set<Scope>(SCOPES.filter((scope) => granted.has(scope) || granted.has('admin')));
  const clientAccessIds = client?.accessIds ?? ANYONE.accessIds;
  // A name that ends in "*" is a pattern, so it is excluded.
  const accessIds = [deviceId, `${deviceId}/up`].filter(
    (name) => !name.endsWith('*') && (granted.has('admin') || isSubset(name, clientAccessIds)),
  );
  if (!scopes.has('subscribe') || !accessIds.includes(deviceId)) {
    return undefined;
  }
  return createPrincipal({
    subject: deviceId,
    scopes,
    accessIds,
    jti: grant?.jti ?? null,
    family: grant?.family ?? null,
    clientId: client?.clientId ?? null,
    issuedAt,
  });
}
