/**
 * Decides before the upgrade who may open a Phoenix socket: a registered user with its UUID, or a client with
 * a token.
 */
import type { IncomingMessage } from 'node:http';
import { LastseenError, quote } from '../../errors.ts';
import { type Problem, problemOf } from '../../http/problem.ts';
import { createPrincipal, type Principal } from '../../identity/principal.ts';
import { type Serializer, serializerOf } from './codec.ts';
import type { PhoenixPorts } from './needs.ts';

/** The principal of a socket, and the serializer of its protocol version. */
export interface Admitted {
  readonly principal: Principal;
  readonly serializer: Serializer;
}

/** Prefix of the subprotocol that carries `authToken`. The rest is the token in base64. */
const BEARER = 'base64url.bearer.phx.';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Authenticates an upgrade request.
 * @throws ERR_ORIGIN, ERR_UNAUTHENTICATED, ERR_REQUEST_INVALID, ERR_TOO_MANY_CONNECTIONS
 */
export async function admit(request: IncomingMessage, ports: PhoenixPorts): Promise<Admitted> {
  ports.guards.checkOrigin(request);
  const query = new URL(request.url ?? '', 'http://localhost').searchParams;
  const vsn = query.get('vsn');
  const serializer = serializerOf(vsn);
  if (serializer === undefined) {
    throw new LastseenError('ERR_REQUEST_INVALID', `vsn must be 1.0.0 or 2.0.0, got ${quote(vsn)}`);
  }
  const principal = await principalOf(request, query.get('userToken'), ports);
  ports.admission.requirePrincipal(principal.subject);
  return { principal, serializer };
}

async function principalOf(
  request: IncomingMessage,
  userToken: string | null,
  ports: PhoenixPorts,
): Promise<Principal> {
  if (userToken !== null) {
    return userOf(userToken, ports);
  }
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  const bearer = offered.find((name) => name.startsWith(BEARER))?.slice(BEARER.length);
  if (bearer !== undefined) {
    return ports.guards.fromMessage({ token: Buffer.from(bearer, 'base64').toString('latin1') });
  }
  const principal = await ports.guards.fromUpgrade(request);
  if (principal !== undefined) {
    return principal;
  }
  throw new LastseenError('ERR_UNAUTHENTICATED', 'a userToken or an authToken is required');
}

async function userOf(id: string, { users, isUserTokenAllowed, runtime }: PhoenixPorts): Promise<Principal> {
  // The time precedes the read of the user, so that a concurrent removal revokes this principal.
  const issuedAt = runtime.clock.now();
  const user = isUserTokenAllowed && UUID.test(id) ? await users.find(id.toLowerCase()) : undefined;
  if (user === undefined) {
    throw new LastseenError('ERR_UNAUTHENTICATED', 'the userToken is invalid');
  }
  return createPrincipal({
    subject: user.id,
    scopes: new Set(['subscribe']),
    accessIds: [user.id],
    issuedAt,
  });
}

/**
 * Converts an error to a response. Phoenix answers every refusal with an empty 403; errors of the server,
 * such as too many connections, are problem documents here.
 */
export function refusalOf(error: LastseenError): Problem {
  const problem = problemOf(error);
  return problem.status >= 500 ? problem : { status: 403, headers: {}, body: '' };
}
