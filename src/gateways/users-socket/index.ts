/**
 * The users socket at /users/socket, and on a port of its own: a user's own events and meta, and those of everybody for
 * third parties, on the wire of the original in both of its dialects. Who comes in is decided before the upgrade.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { Hub } from '../../delivery/hub.ts';
import { LastseenError, shown } from '../../errors.ts';
import type { Guards } from '../../http/guards.ts';
import type { Limits } from '../../http/rate-limits.ts';
import type { Sockets } from '../../http/sockets.ts';
import { createPrincipal, type Principal, requireAccess, requireScope } from '../../identity/principal.ts';
import { hasHash, secretHash } from '../../identity/secrets.ts';
import type { User } from '../../identity/user-store.ts';
import type { Users } from '../../identity/users.ts';
import type { Log } from '../../log/log.ts';
import type { Logger } from '../../logger.ts';
import { type Dialect, DIALECTS } from './codec.ts';
import { createNames } from './names.ts';
import { type Admitted, PROTOCOL_PREFIX, serve, type UsersSocketRoom } from './socket.ts';

export interface UsersSocketOptions {
  readonly sockets: Sockets;
  readonly log: Log;
  readonly hub: Hub;
  readonly guards: Guards;
  readonly limits: Limits;
  readonly users: Users;
  readonly logger: Logger;
  readonly stallTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly maxConnectionsPerPrincipal: number;
  /** For the whole origin; empty: no page comes in without a key. */
  readonly usersSocketOrigins: readonly RegExp[];
  readonly usersSocketApiKey: string | undefined;
  readonly usersSocketPort: number | undefined;
  readonly listenAlso: (server: Server, port: number) => void;
}

const PATH = '/users/socket';

/** Longer origins are none, and are not given to patterns. */
const MAX_ORIGIN_CHARACTERS = 300;

export function mountUsersSocket(options: UsersSocketOptions): void {
  const room: UsersSocketRoom = { ...options, names: createNames(options.users), members: new Set() };
  const { usersSocketApiKey: key, usersSocketPort: port, requestTimeoutMs: requestTimeout } = options;
  const keyHash = key === undefined ? undefined : secretHash(key);
  options.sockets.route<Admitted>({
    path: PATH,
    gateway: 'users-socket',
    admit: (request) => admit(request, room, keyHash),
    protocolOf: (offered) =>
      DIALECTS.map((dialect) => PROTOCOL_PREFIX + dialect).find((name) => offered.has(name)) ??
      (offered.has('lastseen') ? 'lastseen' : false),
    handle: (accepted) => {
      serve(accepted, room);
    },
  });
  if (port === undefined) {
    return;
  }
  const server = createServer({ requestTimeout, headersTimeout: requestTimeout }, (_request, response) => {
    response.writeHead(426, { Upgrade: 'websocket', Connection: 'close' }).end();
  });
  options.sockets.forward(server, PATH);
  options.listenAlso(server, port);
}

/** @throws ERR_UNAUTHENTICATED, ERR_ORIGIN, ERR_FORBIDDEN, ERR_REQUEST_INVALID, ERR_TOO_MANY_CONNECTIONS, ERR_RATE_LIMITED */
async function admit(
  request: IncomingMessage,
  room: UsersSocketRoom,
  keyHash: string | undefined,
): Promise<Admitted> {
  const admitted = { ...askedFor(request), ...(await identify(request, room, keyHash)) };
  const { principal, user } = admitted;
  const isFull = room.hub.countOf(principal.subject) >= room.maxConnectionsPerPrincipal;
  if (isFull || (user !== undefined && room.hub.isFullFor(user.id))) {
    throw new LastseenError('ERR_TOO_MANY_CONNECTIONS', 'too many connections: come back later');
  }
  return admitted;
}

type Identity = Pick<Admitted, 'principal' | 'isThirdParty' | 'user'>;

async function identify(
  request: IncomingMessage,
  room: UsersSocketRoom,
  keyHash: string | undefined,
): Promise<Identity> {
  const address = request.socket.remoteAddress ?? '';
  const key = request.headers['users-api-key'];
  if (key !== undefined) {
    const names = [`address ${address}`];
    await room.limits.checkAttempts(names);
    if (keyHash === undefined || !hasHash(String(key), keyHash)) {
      await room.limits.failed(names);
      throw new LastseenError('ERR_UNAUTHENTICATED', 'the users-api-key is not valid');
    }
    return { principal: holder('users-socket:third-party'), isThirdParty: true, user: undefined };
  }
  const { origin } = request.headers;
  if (origin !== undefined && !isAllowed(origin, room.usersSocketOrigins)) {
    throw new LastseenError('ERR_ORIGIN', `the origin ${shown(origin)} may not open sockets here`);
  }
  const principal = await room.guards.holderOf(request);
  if (principal?.scopes.has('admin') === true) {
    return { principal, isThirdParty: true, user: undefined };
  }
  if (principal !== undefined) {
    const user = await userOf(principal, room.users);
    room.names.keep(user);
    return { principal, isThirdParty: false, user };
  }
  if (origin === undefined) {
    const message =
      'a socket without Origin needs a users-api-key, or a token: send "Authorization: Bearer TOKEN", or the subprotocols "lastseen, lastseen.bearer.TOKEN"';
    throw new LastseenError('ERR_UNAUTHENTICATED', message);
  }
  return { principal: holder(`users-socket:anonymous ${address}`), isThirdParty: false, user: undefined };
}

/** @throws ERR_FORBIDDEN unless the token lets its holder read his own events */
async function userOf(principal: Principal, users: Users): Promise<User> {
  requireScope(principal, 'subscribe');
  requireAccess(principal, principal.subject);
  const user = principal.clientId === null ? await users.ofSubject(principal.subject) : undefined;
  if (user !== undefined) {
    return user;
  }
  throw new LastseenError('ERR_FORBIDDEN', 'the subject of this token is no registered user');
}

function isAllowed(origin: string, patterns: readonly RegExp[]): boolean {
  return origin.length <= MAX_ORIGIN_CHARACTERS && patterns.some((pattern) => pattern.test(origin));
}

/** Somebody who came without a token: it cannot end, and allows nothing by itself. */
function holder(subject: string): Principal {
  return createPrincipal({ subject, scopes: new Set(), accessIds: [], issuedAt: Date.now() });
}

/** `?dialect=` and `?after=`. @throws ERR_REQUEST_INVALID */
function askedFor(request: IncomingMessage): Pick<Admitted, 'dialect' | 'after'> {
  const parameters = new URLSearchParams((request.url ?? '').split('?', 2)[1] ?? '');
  const dialect = parameters.get('dialect') ?? undefined;
  if (dialect !== undefined && !DIALECTS.some((known) => known === dialect)) {
    const message = `the parameter dialect must be ${DIALECTS.join(' or ')}, got ${shown(dialect)}`;
    throw new LastseenError('ERR_REQUEST_INVALID', message);
  }
  return { dialect: dialect as Dialect | undefined, after: parameters.get('after') ?? undefined };
}
