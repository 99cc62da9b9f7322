/**
 * Decides before the upgrade who may open a users socket: a third party with its key or an admin token, a
 * registered user with its token, and any page of an allowed origin.
 */
import type { IncomingMessage } from 'node:http';
import { LastseenError, quote } from '../../errors.ts';
import { createPrincipal, type Principal, requireAccess, requireScope } from '../../identity/principal.ts';
import { hasHash } from '../../identity/secrets.ts';
import type { User } from '../../identity/user-store.ts';
import type { Users } from '../../identity/users.ts';
import { type Dialect, DIALECTS } from './codec.ts';
import type { UsersSocketContext } from './needs.ts';

/** The identity of a socket, and the parameters of its upgrade request. */
export interface Admitted {
  readonly principal: Principal;
  /** True if the socket reads and changes every user. */
  readonly isThirdParty: boolean;
  /** The registered user of the socket. The socket reads and changes this user. */
  readonly user: User | undefined;
  readonly dialect: Dialect | undefined;
  readonly after: string | undefined;
}

/** Maximum length of an origin. Longer values are not matched against patterns. */
const MAX_ORIGIN_CHARACTERS = 300;

/**
 * Authenticates an upgrade request.
 * @throws ERR_UNAUTHENTICATED, ERR_ORIGIN, ERR_FORBIDDEN, ERR_REQUEST_INVALID, ERR_TOO_MANY_CONNECTIONS,
 *   ERR_RATE_LIMITED
 */
export async function admit(
  request: IncomingMessage,
  context: UsersSocketContext,
  keyHash: string | undefined,
): Promise<Admitted> {
  const admitted = { ...readParameters(request), ...(await identify(request, context, keyHash)) };
  const { principal, user } = admitted;
  context.admission.requirePrincipal(principal.subject);
  if (user !== undefined) {
    context.admission.requireReader(user.id);
  }
  return admitted;
}

type Identity = Pick<Admitted, 'principal' | 'isThirdParty' | 'user'>;

async function identify(
  request: IncomingMessage,
  context: UsersSocketContext,
  keyHash: string | undefined,
): Promise<Identity> {
  const address = request.socket.remoteAddress ?? '';
  const key = request.headers['users-api-key'];
  if (key !== undefined) {
    const names = [`address ${address}`];
    await context.limits.requireAttemptsLeft(names);
    if (keyHash === undefined || !hasHash(String(key), keyHash)) {
      await context.limits.recordFailure(names);
      throw new LastseenError('ERR_UNAUTHENTICATED', 'the users-api-key is invalid');
    }
    return { principal: tokenless('users-socket:third-party', context), isThirdParty: true, user: undefined };
  }
  const { origin } = request.headers;
  if (origin !== undefined && !isAllowed(origin, context.usersSocketOrigins)) {
    throw new LastseenError('ERR_ORIGIN', `the origin ${quote(origin)} is not allowed to open sockets`);
  }
  const principal = await context.guards.principalOf(request);
  if (principal?.scopes.has('admin') === true) {
    return { principal, isThirdParty: true, user: undefined };
  }
  if (principal !== undefined) {
    const user = await userOf(principal, context.users);
    context.names.remember(user);
    return { principal, isThirdParty: false, user };
  }
  if (origin === undefined) {
    const message =
      'an upgrade request without Origin must carry a users-api-key or a token: send "Authorization: Bearer TOKEN" or the subprotocols "lastseen, lastseen.bearer.TOKEN"';
    throw new LastseenError('ERR_UNAUTHENTICATED', message);
  }
  return {
    principal: tokenless(`users-socket:anonymous ${address}`, context),
    isThirdParty: false,
    user: undefined,
  };
}

/**
 * Returns the user of a token.
 * @throws ERR_FORBIDDEN unless the token allows the user to read its own events
 */
async function userOf(principal: Principal, users: Users): Promise<User> {
  requireScope(principal, 'subscribe');
  requireAccess(principal, principal.subject);
  const user = principal.clientId === null ? await users.findBySubject(principal.subject) : undefined;
  if (user !== undefined) {
    return user;
  }
  throw new LastseenError('ERR_FORBIDDEN', 'the subject of this token is not a registered user');
}

function isAllowed(origin: string, patterns: readonly RegExp[]): boolean {
  return origin.length <= MAX_ORIGIN_CHARACTERS && patterns.some((pattern) => pattern.test(origin));
}

/** Creates a principal for a client without a token. It does not expire and has no scopes. */
function tokenless(subject: string, { runtime }: UsersSocketContext): Principal {
  return createPrincipal({ subject, issuedAt: runtime.clock.now() });
}

/**
 * Reads the parameters `dialect` and `after`.
 * @throws ERR_REQUEST_INVALID
 */
function readParameters(request: IncomingMessage): Pick<Admitted, 'dialect' | 'after'> {
  const parameters = new URLSearchParams((request.url ?? '').split('?', 2)[1] ?? '');
  const dialect = parameters.get('dialect') ?? undefined;
  if (dialect !== undefined && !DIALECTS.some((known) => known === dialect)) {
    const message = `dialect must be ${DIALECTS.join(' or ')}, got ${quote(dialect)}`;
    throw new LastseenError('ERR_REQUEST_INVALID', message);
  }
  return { dialect: dialect as Dialect | undefined, after: parameters.get('after') ?? undefined };
}
