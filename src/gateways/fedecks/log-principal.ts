/** What a device may do on the log: as much of its client's rights as concerns the device itself. */
import type { ClientRecord } from '../../identity/client-store.ts';
import { ANYONE, createPrincipal, isSubset, type Principal, type Scope } from '../../identity/principal.ts';
import type { TokenRecord } from '../../identity/token-store.ts';

export interface DevicePrincipalOptions {
  /** `undefined`: the service runs without authentication. */
  readonly client: ClientRecord | undefined;
  /** A time before the caller read the client and the grant. */
  readonly issuedAt: number;
  readonly grant?: TokenRecord;
}

const SCOPES = ['subscribe', 'push'] as const;

/**
 * `undefined` when the client does not cover the device. Without a client, where nobody is asked, it may do everything
 * that a device does. `issuedAt`: a time before the client and the grant were looked up.
 */
export function devicePrincipal(
  deviceId: string,
  { client, issuedAt, grant }: DevicePrincipalOptions,
): Principal | undefined {
  const granted = new Set(client === undefined ? ANYONE.scopes : client.scope.split(' '));
  const scopes = new Set<Scope>(SCOPES.filter((scope) => granted.has(scope) || granted.has('admin')));
  const clientAccessIds = client?.accessIds ?? ANYONE.accessIds;
  // A name that ends in "*" would be a pattern.
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
