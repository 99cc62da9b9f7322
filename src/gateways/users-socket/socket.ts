/**
 * One socket of /users/socket: its dialect, its place in the feeds, and what it may see. It reads the log at its own
 * pace (G7); what waits in memory is a page of each feed and one message.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Connection } from '../../delivery/connection.ts';
import { createSession, HIGH_WATER_BYTES } from '../../delivery/session.ts';
import { LastseenError } from '../../errors.ts';
import { userError } from '../../http/problem.ts';
import { type AcceptedSocket, textOf } from '../../http/sockets.ts';
import type { Principal } from '../../identity/principal.ts';
import type { User } from '../../identity/user-store.ts';
import type { Event } from '../../log/event.ts';
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
import { EVENTS, type FeedReader, openFeed, startOf, userEventOf } from './feed.ts';
import type { UsersSocketOptions } from './index.ts';
import { nameOf, type Names } from './names.ts';

/** Subprotocols that choose a dialect, e.g. `users.named`. */
export const PROTOCOL_PREFIX = 'users.';

/** Who a socket is, and what it asked for when it opened. */
export interface Admitted {
  readonly principal: Principal;
  /** Sees and changes every user. */
  readonly isThirdParty: boolean;
  /** The registered user it is; sees and changes this one. */
  readonly user: User | undefined;
  readonly dialect: Dialect | undefined;
  readonly after: string | undefined;
}

/** What the sockets of the room share. */
export interface UsersSocketRoom extends UsersSocketOptions {
  readonly names: Names;
  readonly members: Set<Member>;
}

export interface Member {
  readonly connection: Connection;
  readonly dialect: Dialect;
}

export function serve(
  { socket, connection, admitted }: AcceptedSocket<Admitted>,
  room: UsersSocketRoom,
): void {
  const { log, hub, users, logger } = room;
  const { principal, isThirdParty, user } = admitted;
  const chosen = admitted.dialect ?? DIALECTS.find((one) => PROTOCOL_PREFIX + one === socket.protocol);
  let dialect: Dialect = chosen ?? 'numeric';
  let isDecided = chosen !== undefined;
  let feed: FeedReader | undefined;
  let isWaiting = false;
  /** Everything up to here was written, or is not for this socket. */
  let position = log.head;
  let isLive = false;
  /** The client knows of cursors: it has asked to resume. */
  let saysCursors = false;
  let work: Promise<void> = Promise.resolve();
  let release: () => void = () => undefined;

  const member: Member = {
    connection,
    get dialect() {
      return dialect;
    },
  };
  const session = createSession({
    log,
    connection,
    principal,
    heartbeat: () => (saysCursors ? resumeFrame('heartbeat', { cursor: log.cursor(position) }) : undefined),
    stallTimeoutMs: room.stallTimeoutMs,
    onFault: (error) => {
      userError(error, logger);
    },
    // A drop may name the user by its id, or as its token does.
    ownFeeds: () => {
      if (!isThirdParty && user === undefined) {
        return [];
      }
      const names = user === undefined ? [EVENTS] : [...new Set([user.id, principal.subject])];
      return names.map((accessId) => ({ accessId, position, isLive }));
    },
  });

  connection.onDrain(() => {
    release();
    pump();
  });
  socket.on('message', (data) => {
    session.alive();
    const text = textOf(data);
    // One after the other, and no more is read meanwhile: what waits is bounded by what one read brings.
    socket.pause();
    enqueue(() => answer(text));
  });
  socket.on('pong', session.alive);
  socket.on('close', () => {
    feed?.close();
    feed = undefined;
    release();
    room.members.delete(member);
    hub.remove(session);
  });
  room.members.add(member);
  hub.add(session);
  if (admitted.after !== undefined) {
    const { after } = admitted;
    enqueue(() => attempt(undefined, () => resume(after)));
  } else if (isThirdParty || user !== undefined) {
    feed = openFeed(log, position, pump);
  }

  function enqueue(task: () => Promise<void>): void {
    work = work.then(async () => {
      if (socket.readyState === socket.OPEN) {
        await task();
      }
      // A client that asks and does not read is not answered further.
      if (socket.readyState === socket.OPEN && connection.bufferedBytes >= HIGH_WATER_BYTES) {
        await new Promise<void>((resolve) => (release = resolve));
      }
      socket.resume();
    });
  }

  async function answer(text: string | undefined): Promise<void> {
    const decoded = decode(text);
    if (!isDecided && decoded.dialect !== undefined) {
      dialect = decoded.dialect;
      isDecided = true;
    }
    await attempt(decoded.about, async () => {
      if (decoded.dialect !== undefined && decoded.dialect !== dialect) {
        const field = dialect === 'numeric' ? 'eventType' : 'type';
        const message = `this socket speaks the ${dialect} dialect: \`${field}\` says what a message is`;
        throw new LastseenError('ERR_REQUEST_INVALID', message);
      }
      const request = decoded.request();
      room.limits.takeRequest(principal);
      if (request.type === 'echo') {
        await echo(request);
      } else if (request.type === 'resume') {
        await resume(request.after);
      } else {
        await meta(request);
      }
    });
  }

  /** Whatever goes wrong is a reply: the connection stays. */
  async function attempt(about: Parameters<typeof errorFrame>[1], act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      connection.write(errorFrame(dialect, about, userError(error, logger)));
    }
  }

  async function echo({ message, isBroadcast }: Request & { type: 'echo' }): Promise<void> {
    if (!isBroadcast) {
      connection.write(echoFrame(dialect, message));
      return;
    }
    const frames = { numeric: echoFrame('numeric', message), named: echoFrame('named', message) };
    for (const other of room.members) {
      // Who does not read goes without: an echo is kept for nobody.
      if (other.connection.bufferedBytes < HIGH_WATER_BYTES) {
        other.connection.write(frames[other.dialect]);
      }
    }
    // The next one may come at once, and be for thousands too.
    await turn();
  }

  async function meta({ username, act }: Request & { type: 'meta' }): Promise<void> {
    const target = await targetOf(username);
    const property = act.type === 'set' ? act.entry.property : act.type === 'get' ? act.property : undefined;
    let value: string | undefined;
    if (act.type === 'get') {
      const entries = await users.meta(target.id, property);
      value = property === undefined ? metaText(entries) : entries[0]?.value;
    } else {
      await users.writeMeta(
        target.id,
        act.type === 'set' ? [act.entry] : act.entries,
        act.type === 'replace',
      );
      value = act.type === 'set' ? act.entry.value : act.text;
    }
    connection.write(metaFrame(dialect, { value, property, username: username ?? nameOf(target) }));
  }

  /** Who may not is told so whether or not the other user exists. */
  async function targetOf(username: string | undefined): Promise<User> {
    if (isThirdParty) {
      if (username === undefined) {
        throw new LastseenError('ERR_REQUEST_INVALID', 'Please enter a valid username');
      }
      const found = await users.named(username);
      if (found === undefined) {
        throw new LastseenError('ERR_NOT_FOUND', `Could not find user ${username}`);
      }
      return found;
    }
    const own = user === undefined ? undefined : await users.find(user.id);
    if (own !== undefined && (username === undefined || username === own.id || username === own.nickname)) {
      return own;
    }
    throw forbidden();
  }

  async function resume(after: string): Promise<void> {
    if (!isThirdParty && user === undefined) {
      throw forbidden();
    }
    const { position: start, last } = await startOf(log, after);
    if (socket.readyState !== socket.OPEN) {
      return;
    }
    feed?.close();
    position = start;
    saysCursors = true;
    isLive = false;
    connection.write(resumeFrame('resumed', { cursor: log.cursor(start), head: log.cursor(last) }));
    feed = openFeed(log, start, pump);
    pump();
  }

  function pump(): void {
    try {
      while (feed !== undefined && !isWaiting && connection.bufferedBytes < HIGH_WATER_BYTES) {
        const next = feed.next();
        if (next === undefined) {
          met();
          return;
        }
        const done = next instanceof Promise ? next : tell(next);
        if (done !== undefined) {
          wait(done);
        }
      }
    } catch (error) {
      fail(error);
    }
  }

  function wait(done: Promise<void>): void {
    const waiting = feed;
    isWaiting = true;
    done.then(
      () => {
        isWaiting = false;
        pump();
      },
      (error: unknown) => {
        isWaiting = false;
        if (feed === waiting) {
          fail(error);
        } else {
          pump();
        }
      },
    );
  }

  /** Catch-up has met the tail. */
  function met(): void {
    position = Math.max(position, log.head);
    if (isLive) {
      return;
    }
    isLive = true;
    if (saysCursors) {
      connection.write(resumeFrame('live', { cursor: log.cursor(position) }));
    }
  }

  /** Names are looked up when they are sent: the log knows ids only. */
  function tell(event: Event): Promise<void> | undefined {
    const told = userEventOf(event);
    if (told === undefined || !(isThirdParty || told.userId === user?.id)) {
      position = event.position;
      return undefined;
    }
    const telling = feed;
    const write = (username: string): void => {
      // Another place was asked for meanwhile.
      if (feed !== telling) {
        return;
      }
      const cursor = saysCursors ? log.cursor(event.position) : undefined;
      connection.write(pushFrame(dialect, { ...told, username, cursor }));
      position = event.position;
    };
    const isRemoved = told.name === 'Removed';
    const name = isRemoved ? room.names.last(told.userId) : room.names.of(told.userId);
    if (typeof name !== 'string') {
      return name.then(write);
    }
    write(name);
    if (isRemoved && told.userId === user?.id) {
      connection.close('token-revoked');
    }
    return undefined;
  }

  /** Where the reader stands is unknown then: the client comes back with its own cursor. */
  function fail(error: unknown): void {
    feed?.close();
    feed = undefined;
    const known = userError(error, logger);
    if (known.code !== 'ERR_CURSOR_TOO_OLD') {
      connection.close('fault');
      return;
    }
    // One feed was overtaken: the floor must suit both.
    void attempt(undefined, async () => {
      const { position: floor } = await startOf(log, 'start');
      throw new LastseenError(known.code, known.message, { floor: log.cursor(floor) });
    }).then(() => {
      connection.close('cursor-refused');
    });
  }
}

function forbidden(): LastseenError {
  return new LastseenError('ERR_FORBIDDEN', 'You do not have permission to make this request');
}
