/**
 * One socket of /users/socket: its dialect, its position in the feeds, and its permissions. It reads the log
 * at its own pace (G7): at most a page of each feed and one message wait in memory.
 */
import type { FeedEncoder } from '../../delivery/feed.ts';
import { createSession } from '../../delivery/session.ts';
import { createTurns } from '../../delivery/turns.ts';
import { LastseenError } from '../../errors.ts';
import { type AcceptedSocket, textOf } from '../../http/sockets.ts';
import type { User } from '../../identity/user-store.ts';
import { cursorOf } from '../../log/cursor.ts';
import { laterOf, type Place } from '../../log/place.ts';
import { nextTurn } from '../../runtime.ts';
import type { Admitted } from './admission.ts';
import {
  decode,
  type Dialect,
  DIALECTS,
  echoFrame,
  errorFrame,
  metaFrame,
  metaText,
  pushFrame,
  type Request,
  resumeFrame,
} from './codec.ts';
import { EVENTS, FEEDS, openFeed, userEventOf } from './feed.ts';
import { nameOf } from './names.ts';
import type { Member, UsersSocketContext } from './needs.ts';

/** Prefix of the subprotocols that select a dialect, for example `users.named`. */
export const PROTOCOL_PREFIX = 'users.';

/** Name of the subscription in the session. */
const FEED = 'users';

/** Serves an accepted socket. */
export function serve(
  { socket, connection, inbox, admitted }: AcceptedSocket<Admitted>,
  context: UsersSocketContext,
): void {
  const { log, hub, users, errors, names, runtime } = context;
  const { principal, isThirdParty, user } = admitted;
  const isReader = isThirdParty || user !== undefined;
  const requestedDialect =
    admitted.dialect ?? DIALECTS.find((name) => PROTOCOL_PREFIX + name === socket.protocol);
  let dialect: Dialect = requestedDialect ?? 'numeric';
  let isDialectFixed = requestedDialect !== undefined;
  let isFollowing = false;
  /** True after the client has resumed: its frames then contain cursors. */
  let wantsCursors = false;

  const member: Member = {
    connection,
    get dialect() {
      return dialect;
    },
  };
  const encoder: FeedEncoder = {
    events(events) {
      const frames: Buffer[] = [];
      let isRemoved = false;
      for (const event of events) {
        const userEvent = userEventOf(event);
        if (userEvent === undefined || !(isThirdParty || userEvent.userId === user?.id)) {
          continue;
        }
        const username = names.lastKnown(userEvent.userId);
        const cursor = wantsCursors ? cursorOf(event) : undefined;
        frames.push(pushFrame(dialect, { ...userEvent, username, cursor }));
        if (userEvent.name === 'Removed' && userEvent.userId === user?.id) {
          isRemoved = true;
          break;
        }
      }
      if (!isRemoved) {
        return frames.length === 0 ? undefined : Buffer.concat(frames);
      }
      // This is the last event of this user: the connection closes after it.
      connection.write(Buffer.concat(frames));
      connection.close('token-revoked');
      return undefined;
    },
    live: (place) => (wantsCursors ? resumeFrame('live', { cursor: cursorOf(place) }) : undefined),
  };

  const turns = createTurns({
    inbox,
    connection,
    timers: runtime.timers,
    onFault: (error) => {
      errors.report(error);
      connection.close('fault');
    },
  });
  // A drop can name the id of the user or the subject of its token.
  const accessIds =
    user === undefined ? (isThirdParty ? [EVENTS] : []) : [...new Set([user.id, principal.subject])];
  const openedAt = log.head;
  const session = createSession({
    log,
    connection,
    principal,
    runtime,
    heartbeat: (places) =>
      wantsCursors ? resumeFrame('heartbeat', { cursor: cursorOf(places.get(FEED) ?? openedAt) }) : undefined,
    stallTimeoutMs: context.stallTimeoutMs,
    onFault: (error) => {
      errors.report(error);
    },
    otherFeeds: () =>
      isFollowing ? [] : accessIds.map((accessId) => ({ accessId, place: openedAt, isLive: false })),
    onOvertaken: refuseOvertaken,
  });

  socket.on('message', (data) => {
    session.markAlive();
    const text = textOf(data);
    turns.enqueue(() => answer(text));
  });
  socket.on('pong', session.markAlive);
  socket.on('close', () => {
    context.members.delete(member);
    hub.remove(session);
  });
  context.members.add(member);
  hub.add(session);
  if (admitted.after !== undefined) {
    const { after } = admitted;
    turns.enqueue(() => replyWithError(undefined, () => resume(after)));
  } else if (isReader) {
    follow(openedAt);
  }

  async function answer(text: string | undefined): Promise<void> {
    const decoded = decode(text);
    if (!isDialectFixed && decoded.dialect !== undefined) {
      dialect = decoded.dialect;
      isDialectFixed = true;
    }
    await replyWithError(decoded.eventName, async () => {
      if (decoded.dialect !== undefined && decoded.dialect !== dialect) {
        const field = dialect === 'numeric' ? 'eventType' : 'type';
        const message = `this socket uses the ${dialect} dialect: a message must have \`${field}\``;
        throw new LastseenError('ERR_REQUEST_INVALID', message);
      }
      const request = decoded.request();
      context.limits.countRequest(principal);
      if (request.type === 'echo') {
        await echo(request);
      } else if (request.type === 'resume') {
        await resume(request.after);
      } else {
        await meta(request);
      }
    });
  }

  /** Replies with an error if the work fails. The connection stays open. */
  async function replyWithError(
    eventName: Parameters<typeof errorFrame>[1],
    operation: () => Promise<void>,
  ): Promise<void> {
    try {
      await operation();
    } catch (error) {
      connection.write(errorFrame(dialect, eventName, errors.report(error)));
    }
  }

  async function echo({ message, isBroadcast }: Request & { type: 'echo' }): Promise<void> {
    if (!isBroadcast) {
      connection.write(echoFrame(dialect, message));
      return;
    }
    const frames = { numeric: echoFrame('numeric', message), named: echoFrame('named', message) };
    for (const other of context.members) {
      // A member with a full buffer receives no echo, so that the buffer does not grow.
      if (!other.connection.isFull) {
        other.connection.write(frames[other.dialect]);
      }
    }
    // The next broadcast may follow at once and address thousands of sockets, so other work runs first.
    await nextTurn(runtime.timers);
  }

  async function meta({ username, operation }: Request & { type: 'meta' }): Promise<void> {
    const target = await targetOf(username);
    const property =
      operation.type === 'set'
        ? operation.entry.property
        : operation.type === 'get'
          ? operation.property
          : undefined;
    let value: string | undefined;
    if (operation.type === 'get') {
      const entries = await users.meta(target.id, property);
      value = property === undefined ? metaText(entries) : entries[0]?.value;
    } else {
      await users.writeMeta(target.id, operation.type === 'set' ? [operation.entry] : operation.entries, {
        isWhole: operation.type === 'replace',
      });
      value = operation.type === 'set' ? operation.entry.value : operation.text;
    }
    connection.write(metaFrame(dialect, { value, property, username: username ?? nameOf(target) }));
  }

  /** The refusal is the same for existing and unknown users. */
  async function targetOf(username: string | undefined): Promise<User> {
    if (isThirdParty) {
      if (username === undefined) {
        throw new LastseenError('ERR_REQUEST_INVALID', 'Please enter a valid username');
      }
      const target = await users.findByName(username);
      if (target === undefined) {
        throw new LastseenError('ERR_NOT_FOUND', `Could not find user ${username}`);
      }
      return target;
    }
    const ownUser = user === undefined ? undefined : await users.find(user.id);
    if (
      ownUser !== undefined &&
      (username === undefined || username === ownUser.id || username === ownUser.nickname)
    ) {
      return ownUser;
    }
    throw forbidden();
  }

  async function resume(after: string): Promise<void> {
    if (!isReader) {
      throw forbidden();
    }
    const place = await log.resolve(FEEDS, { after });
    const head = laterOf(await log.lastPlace(FEEDS), place);
    if (!inbox.isOpen) {
      return;
    }
    if (isFollowing) {
      session.unsubscribe(FEED);
    }
    wantsCursors = true;
    connection.write(resumeFrame('resumed', { cursor: cursorOf(place), head: cursorOf(head) }));
    follow(place);
  }

  function follow(after: Place): void {
    isFollowing = true;
    session.follow({
      name: FEED,
      open: (onMore) => openFeed({ log, names }, after, onMore),
      encoder,
      accessIds,
    });
  }

  /** Retention has deleted unread events of one of the two feeds. The floor must be valid for both. */
  async function refuseOvertaken(error: LastseenError): Promise<void> {
    isFollowing = false;
    await replyWithError(undefined, async () => {
      const floor = await log.resolve(FEEDS, { after: 'start' });
      throw new LastseenError(error.code, error.message, { floor: cursorOf(floor) });
    });
  }
}

function forbidden(): LastseenError {
  return new LastseenError('ERR_FORBIDDEN', 'You do not have permission to make this request');
}
