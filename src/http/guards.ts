/** Authenticates requests and upgrades, and checks the origins of pages that open sockets. */
import type { IncomingMessage } from 'node:http';
import { LastseenError, quote } from '../errors.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import { type Principal, requireScope, type Scope } from '../identity/principal.ts';
import type { Tickets } from '../identity/tickets.ts';

/** Authentication of requests. */
export interface Guards {
  /**
   * Returns the principal of an HTTP request that has the scope.
   * @throws ERR_UNAUTHENTICATED, ERR_FORBIDDEN, ERR_ORIGIN
   */
  authorize(request: IncomingMessage, scope: Scope): Principal | Promise<Principal>;
  /**
   * Returns the principal of an HTTP request, with any scope.
   * @throws ERR_UNAUTHENTICATED, ERR_ORIGIN
   */
  authenticate(request: IncomingMessage): Promise<Principal>;
  /**
   * Returns the principal of an upgrade request. Returns `undefined` for a request without a token from a
   * page of an allowed origin: the page may send a token in its first message.
   * @throws ERR_UNAUTHENTICATED, ERR_ORIGIN
   */
  fromUpgrade(request: IncomingMessage): Promise<Principal | undefined>;
  /**
   * Returns the principal of an upgrade request, or `undefined` without a token. It does not check the
   * origin: it is for gateways with their own list of origins.
   * @throws ERR_UNAUTHENTICATED
   */
  principalOf(request: IncomingMessage): Promise<Principal | undefined>;
  /**
   * Returns the principal of a token or ticket in a message.
   * @throws ERR_UNAUTHENTICATED
   */
  fromMessage(message: {
    readonly token?: string | undefined;
    readonly ticket?: string | undefined;
  }): Promise<Principal>;
  /** @throws ERR_ORIGIN if a page of another origin requests a socket */
  checkOrigin(request: IncomingMessage): void;
}

/** The credentials and origins that the guards accept. */
export interface GuardOptions {
  readonly tickets: Tickets;
  readonly authenticator: Authenticator;
  readonly origins: readonly (string | RegExp)[];
}

const SUBPROTOCOL_BEARER = 'lastseen.bearer.';

/** Creates the guards. */
export function createGuards({ authenticator, tickets, origins }: GuardOptions): Guards {
  /**
   * Without authentication, the Host header must be a loopback name. Otherwise a page could reach this server
   * through a DNS name that points to it.
   */
  function checkHost(request: IncomingMessage): void {
    const host = request.headers.host ?? '';
    if (!authenticator.isOpen || /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i.test(host)) {
      return;
    }
    throw new LastseenError(
      'ERR_ORIGIN',
      `with LASTSEEN_AUTH=open, Host must be a loopback name, got ${quote(host)}`,
    );
  }

  function checkOrigin(request: IncomingMessage): void {
    checkHost(request);
    const origin = request.headers.origin;
    if (origin === undefined || isAllowed(origin.toLowerCase(), request, origins)) {
      return;
    }
    throw new LastseenError('ERR_ORIGIN', `the origin ${quote(origin)} is not allowed to open sockets`);
  }

  async function principalOf(request: IncomingMessage): Promise<Principal | undefined> {
    checkHost(request);
    const token = bearerOf(request) ?? subprotocolToken(request);
    return token !== undefined || authenticator.isOpen ? authenticator.authenticate(token) : undefined;
  }

  return {
    authorize(request, scope) {
      checkHost(request);
      const principal = authenticator.authenticate(bearerOf(request));
      if (principal instanceof Promise) {
        return principal.then((authenticated) => withScope(authenticated, scope));
      }
      return withScope(principal, scope);
    },
    async authenticate(request) {
      checkHost(request);
      return authenticator.authenticate(bearerOf(request));
    },
    async fromUpgrade(request) {
      checkOrigin(request);
      const principal = await principalOf(request);
      if (principal !== undefined) {
        return principal;
      }
      if (request.headers.origin !== undefined) {
        return undefined;
      }
      const message =
        'an upgrade request without Origin must carry a token: send "Authorization: Bearer TOKEN" or the subprotocols "lastseen, lastseen.bearer.TOKEN"';
      throw new LastseenError('ERR_UNAUTHENTICATED', message);
    },
    principalOf,
    async fromMessage({ token, ticket }) {
      if (ticket === undefined || token !== undefined) {
        return authenticator.authenticate(token);
      }
      return tickets.redeem(ticket);
    },
    checkOrigin,
  };
}

function withScope(principal: Principal, scope: Scope): Principal {
  requireScope(principal, scope);
  return principal;
}

function isAllowed(origin: string, request: IncomingMessage, origins: GuardOptions['origins']): boolean {
  if (origins.length === 0) {
    const host = request.headers.host?.toLowerCase();
    return host !== undefined && (origin === `http://${host}` || origin === `https://${host}`);
  }
  return origins.some((allowed) => (typeof allowed === 'string' ? allowed === origin : allowed.test(origin)));
}

function bearerOf(request: IncomingMessage): string | undefined {
  const header = request.headers.authorization;
  if (header === undefined) {
    return undefined;
  }
  const token = /^Bearer +([\x21-\x7e]+) *$/i.exec(header)?.[1];
  if (token !== undefined) {
    return token;
  }
  throw new LastseenError('ERR_UNAUTHENTICATED', 'the Authorization header must be "Bearer TOKEN"');
}

/**
 * Returns the token in the subprotocols `lastseen, lastseen.bearer.TOKEN`, for clients that cannot set
 * headers.
 */
function subprotocolToken(request: IncomingMessage): string | undefined {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  return offered.find((name) => name.startsWith(SUBPROTOCOL_BEARER))?.slice(SUBPROTOCOL_BEARER.length);
}
