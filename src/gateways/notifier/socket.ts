/**
 * WebSocket /subscribe_to_events, in the original form of the notifier and in the exact form (G3, G6, G7).
 * The first message selects the form. It has a deadline, so that the server closes a silent socket.
 */
import type { FeedEncoder } from '../../delivery/feed.ts';
import { createSession, type Session } from '../../delivery/session.ts';
import { createTurns } from '../../delivery/turns.ts';
import { LastseenError } from '../../errors.ts';
import { closeReasonOf } from '../../http/close-codes.ts';
import { textFrame } from '../../http/frame.ts';
import { type AcceptedSocket, textOf } from '../../http/sockets.ts';
import { type Principal, requireAccess, requireScope } from '../../identity/principal.ts';
import { cursorOf } from '../../log/cursor.ts';
import type { LogEvent } from '../../log/event.ts';
import { laterOf, type Place } from '../../log/place.ts';
import type { NotifierPorts } from './needs.ts';
import {
  type ClientMessage,
  createSocketEncoder,
  decodeFirst,
  decodeNext,
  errorFrame,
  jsonFrame,
  type SocketEncoder,
} from './socket-codec.ts';

/** Maximum time until the first message. */
const FIRST_MESSAGE_MS = 10_000;

/** Creates the handler of accepted sockets. */
export function createSocketHandler(
  ports: NotifierPorts,
): (accepted: AcceptedSocket<Principal | undefined>) => void {
  const encoder = createSocketEncoder();
  return (accepted) => {
    serve(accepted, ports, encoder);
  };
}

function serve(
  accepted: AcceptedSocket<Principal | undefined>,
  ports: NotifierPorts,
  encoder: SocketEncoder,
): void {
  const { log, hub, guards, errors } = ports;
  const { socket, connection, inbox } = accepted;
  const { clock, timers } = ports.runtime;
  let principal: Principal | undefined = accepted.admitted;
  let session: Session | undefined;
  let isLegacy = false;

  const turns = createTurns({
    inbox,
    connection,
    timers,
    onFault: (error) => {
      errors.report(error);
      connection.close('fault');
    },
  });
  const cancelDeadline = timers.after(FIRST_MESSAGE_MS, () => {
    connection.write(
      errorFrame(new LastseenError('ERR_TIMEOUT', 'the first message must arrive within 10 s'), undefined),
    );
    connection.close('bad-first-message');
  });

  socket.on('message', (data) => {
    session?.markAlive();
    if (isLegacy) {
      return;
    }
    const text = textOf(data);
    turns.enqueue(async () => {
      if (session === undefined) {
        await handleFirst(text);
      } else if (!isLegacy) {
        await handleNext(text);
      }
    });
  });
  socket.on('pong', () => session?.markAlive());
  socket.on('close', () => {
    cancelDeadline();
    if (session !== undefined) {
      hub.remove(session);
    }
  });

  /** Handles the first message. */
  async function handleFirst(text: string | undefined): Promise<void> {
    cancelDeadline();
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
      const userError = errors.report(error);
      connection.write(
        errorFrame(userError, message !== undefined && 'accessId' in message ? message.accessId : undefined),
      );
      connection.close(closeReasonOf(userError) ?? 'bad-first-message');
    }
  }

  /** Handles a later message of the exact form. Errors without a close reason leave the socket open. */
  async function handleNext(text: string | undefined): Promise<void> {
    let message: ClientMessage | undefined;
    try {
      message = decodeNext(text);
      if (message.type === 'subscribe') {
        await subscribe(message);
      } else if (message.type === 'unsubscribe') {
        session?.unsubscribe(message.accessId);
      } else if (message.type === 'token') {
        await replaceToken(message.token);
      }
    } catch (error) {
      const userError = errors.report(error);
      connection.write(
        errorFrame(userError, message !== undefined && 'accessId' in message ? message.accessId : undefined),
      );
      const reason = closeReasonOf(userError);
      if (reason !== undefined) {
        connection.close(reason);
      }
    }
  }

  async function subscribe(message: ClientMessage & { type: 'subscribe' }): Promise<void> {
    const { accessId } = message;
    const admitted = await admit(accessId, message);
    const after = await log.resolve(accessId, message.start);
    const head = laterOf(await log.lastPlace(accessId), after);
    requirePlace(admitted, accessId);
    const openSession = sessionOf(admitted, (places) => {
      const cursors = Object.fromEntries([...places].map(([name, place]) => [name, cursorOf(place)]));
      return jsonFrame({ type: 'heartbeat', cursors });
    });
    openSession.requireSubscribable(accessId);
    connection.write(
      jsonFrame({
        type: 'subscribed',
        access_id: accessId,
        cursor: cursorOf(after),
        head: cursorOf(head),
      }),
    );
    openSession.subscribe({ accessId, after, encoder: exactFeed(accessId) });
  }

  async function subscribeLegacy(message: ClientMessage & { type: 'legacy' }): Promise<void> {
    const admitted = await admit(message.accessId, message);
    const after = await log.resolve(message.accessId, { createdAt: message.timestamp });
    requirePlace(admitted, message.accessId);
    sessionOf(admitted, () => undefined).subscribe({
      accessId: message.accessId,
      after,
      encoder: legacyFeed(message.timestamp),
    });
  }

  async function admit(
    accessId: string,
    message: { token?: string | undefined; ticket?: string | undefined },
  ): Promise<Principal> {
    if (message.token !== undefined || message.ticket !== undefined || principal === undefined) {
      principal = await guards.fromMessage(message);
    }
    const currentPrincipal = session?.principal ?? principal;
    requireScope(currentPrincipal, 'subscribe');
    requireAccess(currentPrincipal, accessId);
    requirePlace(currentPrincipal, accessId);
    return currentPrincipal;
  }

  /** Checks the limits: before the reads of the start, and again in the step that subscribes. */
  function requirePlace({ subject }: Principal, accessId: string): void {
    if (session === undefined) {
      ports.admission.requirePlace({ subject, accessId });
    } else {
      ports.admission.requireReader(accessId);
    }
  }

  function sessionOf(
    admitted: Principal,
    heartbeat: (places: ReadonlyMap<string, Place>) => Buffer | undefined,
  ): Session {
    if (session !== undefined) {
      return session;
    }
    session = createSession({
      log,
      connection,
      principal: admitted,
      runtime: ports.runtime,
      onExpiring: (seconds) => {
        if (!isLegacy) {
          connection.write(jsonFrame({ type: 'token_expiring', expires_in: seconds }));
        }
      },
      heartbeat,
      stallTimeoutMs: ports.stallTimeoutMs,
      onFault: (error) => {
        errors.report(error);
      },
      onOvertaken: (error, [accessId]) => {
        if (!isLegacy) {
          connection.write(errorFrame(error, accessId));
        }
      },
    });
    // The socket may have closed during the read of the start.
    if (socket.readyState === socket.OPEN) {
      hub.add(session);
    } else {
      session.dispose();
    }
    return session;
  }

  /** Replaces the token of the open socket. The subscriptions continue. */
  async function replaceToken(token: string): Promise<void> {
    const newPrincipal = await guards.fromMessage({ token });
    session?.renew(newPrincipal);
    const secondsLeft =
      newPrincipal.expiresAt === null ? null : Math.round((newPrincipal.expiresAt - clock.now()) / 1_000);
    connection.write(jsonFrame({ type: 'token', expires_in: secondsLeft }));
  }

  function exactFeed(accessId: string): FeedEncoder {
    return {
      events: (events) => encoder.events(accessId, events),
      live: (place) => jsonFrame({ type: 'live', access_id: accessId, cursor: cursorOf(place) }),
    };
  }

  /** Encodes the events with a `created_at` at or after `timestamp`, in log order. */
  function legacyFeed(timestamp: number): FeedEncoder {
    return {
      events(events: readonly LogEvent[]) {
        const wantedEvents = events.filter((event) => event.createdAt >= timestamp);
        if (wantedEvents.length === 0) {
          return undefined;
        }
        return encoder.legacyEvents(wantedEvents.length === events.length ? events : wantedEvents);
      },
      live: () => undefined,
    };
  }
}
