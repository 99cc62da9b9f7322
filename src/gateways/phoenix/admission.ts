/** Who may open a Phoenix socket: a registered user by its UUID, or the holder of a token. Refused before the upgrade. */
import type { IncomingMessage } from 'node:http';
import type { Hub } from '../../delivery/hub.ts';
import { LastseenError, shown } from '../../errors.ts';
import type { Guards } from '../../http/guards.ts';
import { type Problem, problemOf, userError } from '../../http/problem.ts';
import { createPrincipal, type Principal, type Scope } from '../../identity/principal.ts';
import type { Users } from '../../identity/users.ts';
import type { Logger } from '../../logger.ts';
import { type Serializer, serializerOf } from './codec.ts';

export interface Admission {
  readonly principal: Principal;
  readonly serializer: Serializer;
}

export interface AdmissionOptions {
  readonly guards: Guards;
  readonly users: Users;
  readonly hub: Hub;
  readonly logger: Logger;
  readonly maxConnectionsPerPrincipal: number;
  /** Whether the UUID of a registered user opens a socket (`userToken`). */
  readonly isUserTokenAllowed: boolean;
}

/** The subprotocol of `authToken`: the rest is the token in base64. */
const BEARER = 'base64url.bearer.phx.';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** @throws ERR_ORIGIN, ERR_UNAUTHENTICATED, ERR_REQUEST_INVALID, ERR_TOO_MANY_CONNECTIONS */
export async function admit(request: IncomingMessage, options: AdmissionOptions): Promise<Admission> {
  options.guards.checkOrigin(request);
  const query = new URL(request.url ?? '', 'http://localhost').searchParams;
  const vsn = query.get('vsn');
  const serializer = serializerOf(vsn);
  if (serializer === undefined) {
    throw new LastseenError('ERR_REQUEST_INVALID', `vsn must be 1.0.0 or 2.0.0, got ${shown(vsn)}`);
  }
  const principal = await holderOf(request, query.get('userToken'), options);
  if (options.hub.countOf(principal.subject) >= options.maxConnectionsPerPrincipal) {
    throw new LastseenError('ERR_TOO_MANY_CONNECTIONS', 'too many connections: come back later');
  }
  return { principal, serializer };
}

async function holderOf(
  request: IncomingMessage,
  userToken: string | null,
  options: AdmissionOptions,
): Promise<Principal> {
  if (userToken !== null) {
    return userOf(userToken, options);
  }
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  const bearer = offered.find((name) => name.startsWith(BEARER))?.slice(BEARER.length);
  if (bearer !== undefined) {
    return options.guards.fromMessage({ token: Buffer.from(bearer, 'base64').toString('latin1') });
  }
  const principal = await options.guards.fromUpgrade(request);
  if (principal !== undefined) {
    return principal;
  }
  throw new LastseenError('ERR_UNAUTHENTICATED', 'a userToken or an authToken is needed');
}

async function userOf(id: string, { users, isUserTokenAllowed }: AdmissionOptions): Promise<Principal> {
  // Before the user is looked up, so that a removal meanwhile is seen.
  const issuedAt = Date.now();
  const user = isUserTokenAllowed && UUID.test(id) ? await users.find(id.toLowerCase()) : undefined;
  if (user === undefined) {
    throw new LastseenError('ERR_UNAUTHENTICATED', 'the userToken is not valid');
  }
  return createPrincipal({
    subject: user.id,
    scopes: new Set<Scope>(['subscribe']),
    accessIds: [user.id],
    issuedAt,
  });
}

/** Phoenix refuses with an empty 403, whatever the reason; that there is no room is said as everywhere else. */
export function refusalOf(error: unknown, logger: Logger): Problem {
  const known = userError(error, logger);
  const problem = problemOf(known);
  return problem.status >= 500 ? problem : { status: 403, headers: {}, body: '' };
}
