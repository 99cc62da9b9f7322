/**
 * WebSocket /subscribe_to_events: the original notifier's wire, and the exact one beside it (G3, G6, G7). The first
 * message decides which; it has a deadline, so that a silent socket costs nothing for long.
 */
import { createSession, type FeedEncoder, type Session } from '../../delivery/session.ts';
import { LastseenError } from '../../errors.ts';
import { textFrame } from '../../http/frame.ts';
import { closeReasonOf, userError } from '../../http/problem.ts';
import { type AcceptedSocket, textOf } from '../../http/sockets.ts';
import { type Principal, requireAccess, requireScope } from '../../identity/principal.ts';
import type { Event } from '../../log/event.ts';
import type { NotifierOptions } from './index.ts';
import {
  type ClientMessage,
  createSocketEncoder,
  decodeFirst,
  decodeNext,
  errorFrame,
  jsonFrame,
  type SocketEncoder,
} from './socket-codec.ts';

/** Time for the first message. */
const FIRST_MESSAGE_MS = 10_000;

/** Serves accepted sockets. */
export function createSocketHandler(
  options: NotifierOptions,
): (accepted: AcceptedSocket<Principal | undefined>) => void {
  const encoder = createSocketEncoder(options.log.cursor);
  return (accepted) => {
    serve(accepted, options, encoder);
  };
}

function serve(
  accepted: AcceptedSocket<Principal | undefined>,
  options: NotifierOptions,
  encoder: SocketEncoder,
): void {
  const { log, hub, guards, logger } = options;
  const { socket, connection } = accepted;
  let principal: Principal | undefined = accepted.admitted;
  let session: Session | undefined;
  let isLegacy = false;
  let work: Promise<void> = Promise.resolve();

  const deadline = setTimeout(() => {
    connection.write(
      errorFrame(new LastseenError('ERR_TIMEOUT', 'the first message did not come within 10 s'), undefined),
    );
    connection.close('bad-first-message');
  }, FIRST_MESSAGE_MS);

  socket.on('message', (data) => {
    session?.alive();
    if (isLegacy) {
      return;
    }
    const text = textOf(data);
    // One after the other, and no more is read meanwhile: what waits is bounded by what one read brings.
    socket.pause();
    work = work.then(async () => {
      if (socket.readyState === socket.OPEN && session === undefined) {
        await open(text);
      } else if (socket.readyState === socket.OPEN && !isLegacy) {
        await next(text);
      }
      socket.resume();
    });
  });
  socket.on('pong', () => session?.alive());
  socket.on('close', () => {
    clearTimeout(deadline);
    if (session !== undefined) {
      hub.remove(session);
    }
  });

  /** The first message. */
  async function open(text: string | undefined): Promise<void> {
    clearTimeout(deadline);
    let message: ClientMessage | undefined;
    try {
      message = decodeFirst(text);
      if (message === undefined) {
        connection.write(textFrame('Wrong JSON announcement'));
        connection.close('bad-first-message');
        return;
      }
      if (message.type === 'legacy') {
        isLegacy = true;
        await subscribeLegacy(message);
      } else if (message.type === 'subscribe') {
        await subscribe(message);
      }
    } catch (error) {
      const known = userError(error, logger);
      connection.write(
        errorFrame(known, message !== undefined && 'accessId' in message ? message.accessId : undefined),
      );
      connection.close(closeReasonOf(known) ?? 'bad-first-message');
    }
  }

  /** A later message of the exact form. Only what the table calls fatal ends the socket. */
  async function next(text: string | undefined): Promise<void> {
    let message: ClientMessage | undefined;
    try {
      message = decodeNext(text);
      if (message.type === 'subscribe') {
        await subscribe(message);
      } else if (message.type === 'unsubscribe') {
        session?.unsubscribe(message.accessId);
      } else if (message.type === 'token') {
        await refresh(message.token);
      }
    } catch (error) {
      const known = userError(error, logger);
      connection.write(
        errorFrame(known, message !== undefined && 'accessId' in message ? message.accessId : undefined),
      );
      const reason = closeReasonOf(known);
      if (reason !== undefined) {
        connection.close(reason);
      }
    }
  }

  async function subscribe(message: ClientMessage & { type: 'subscribe' }): Promise<void> {
    const { accessId } = message;
    const holder = await admit(accessId, message);
    const position = await log.resolve(accessId, message.start);
    const last = await log.lastPosition(accessId);
    const current = sessionOf(holder, (positions) => {
      const cursors = Object.fromEntries([...positions].map(([name, at]) => [name, log.cursor(at)]));
      return jsonFrame({ type: 'heartbeat', cursors });
    });
    current.requireFree(accessId);
    const head = log.cursor(Math.max(last, position));
    connection.write(
      jsonFrame({ type: 'subscribed', access_id: accessId, cursor: log.cursor(position), head }),
    );
    current.subscribe(accessId, position, exactFeed);
  }

  async function subscribeLegacy(message: ClientMessage & { type: 'legacy' }): Promise<void> {
    const holder = await admit(message.accessId, message);
    const position = await log.resolve(message.accessId, { createdAt: message.timestamp });
    sessionOf(holder, () => undefined).subscribe(message.accessId, position, legacyFeed(message.timestamp));
  }

  async function admit(
    accessId: string,
    message: { token?: string | undefined; ticket?: string | undefined },
  ): Promise<Principal> {
    if (message.token !== undefined || message.ticket !== undefined || principal === undefined) {
      principal = await guards.fromMessage(message);
    }
    const holder = session?.principal ?? principal;
    requireScope(holder, 'subscribe');
    requireAccess(holder, accessId);
    if (hub.isFullFor(accessId)) {
      throw new LastseenError(
        'ERR_TOO_MANY_CONNECTIONS',
        'too many connections read this access_id: come back later',
      );
    }
    if (session === undefined && hub.countOf(holder.subject) >= options.maxConnectionsPerPrincipal) {
      throw new LastseenError(
        'ERR_TOO_MANY_CONNECTIONS',
        'this token has too many connections: come back later',
      );
    }
    return holder;
  }

  function sessionOf(
    holder: Principal,
    heartbeat: (positions: ReadonlyMap<string, number>) => Buffer | undefined,
  ): Session {
    if (session !== undefined) {
      return session;
    }
    session = createSession({
      log,
      connection,
      principal: holder,
      onExpiring: (seconds) => {
        if (!isLegacy) {
          connection.write(jsonFrame({ type: 'token_expiring', expires_in: seconds }));
        }
      },
      heartbeat,
      stallTimeoutMs: options.stallTimeoutMs,
      onFault: (error) => {
        userError(error, logger);
      },
      onOvertaken: (error, accessId) => {
        if (!isLegacy) {
          connection.write(errorFrame(error, accessId));
        }
      },
    });
    // The socket may have closed while the start was looked up.
    if (socket.readyState === socket.OPEN) {
      hub.add(session);
    } else {
      session.ended();
    }
    return session;
  }

  /** A new token on the open socket: the subscriptions go on. */
  async function refresh(token: string): Promise<void> {
    const fresh = await guards.fromMessage({ token });
    session?.renew(fresh);
    const left = fresh.expiresAt === null ? null : Math.round((fresh.expiresAt - Date.now()) / 1_000);
    connection.write(jsonFrame({ type: 'token', expires_in: left }));
  }

  const exactFeed: FeedEncoder = {
    events: encoder.events,
    live: (accessId, position) =>
      jsonFrame({ type: 'live', access_id: accessId, cursor: log.cursor(position) }),
  };

  /** Only events at or after the time that the client named, in the order of the log. */
  function legacyFeed(timestamp: number): FeedEncoder {
    return {
      events(_accessId, events: readonly Event[]) {
        const wanted = events.filter((event) => event.createdAt >= timestamp);
        if (wanted.length === 0) {
          return undefined;
        }
        return encoder.legacyEvents(wanted.length === events.length ? events : wanted);
      },
      live: () => undefined,
    };
  }
}
