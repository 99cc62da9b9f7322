/**
 * One Phoenix socket with its channels. It handles one message at a time. An invalid message receives an
 * error reply. A frame that contains no message closes the socket (G8).
 */
import { isUtf8 } from 'node:buffer';
import { createSession, type Session } from '../../delivery/session.ts';
import { createTokenBucket } from '../../delivery/token-bucket.ts';
import { createTurns } from '../../delivery/turns.ts';
import { cursorHints, LastseenError } from '../../errors.ts';
import type { AcceptedSocket } from '../../http/sockets.ts';
import { cursorOf } from '../../log/cursor.ts';
import { laterOf, type Place } from '../../log/place.ts';
import type { Admitted } from './admission.ts';
import type { Member } from './broadcasts.ts';
import { type ClientMessage, jsonPayload, type Payload, valueOf } from './codec.ts';
import { decodeJoin, decodeMeta } from './join-request.ts';
import type { PhoenixContext } from './needs.ts';
import { type Meta, presenceKey } from './presence.ts';
import { type Topic, topicOf } from './topics.ts';

/** Maximum number of channels of a socket. */
const MAX_CHANNELS = 100;

/**
 * Maximum bytes of unread broadcasts and replies. A larger backlog closes the socket; the client resumes its
 * feeds after it reconnects.
 */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

/**
 * The server sends each join and each update of presence to every member of the topic, so both have a rate
 * limit.
 */
const JOINS = { capacity: 2 * MAX_CHANNELS, perSecond: 10 };
const PRESENCE_UPDATES = { capacity: 10, perSecond: 2 };

const EMPTY: Payload = { json: '{}' };

interface Channel extends Member {
  readonly joinRef: string;
  readonly name: string;
  readonly handler: Topic;
  presenceRef: string | undefined;
  readonly onlineAt: number;
}

/** Serves an accepted socket. */
export function servePhoenix(accepted: AcceptedSocket<Admitted>, context: PhoenixContext): void {
  const { log, hub, errors, broadcasts, presence } = context;
  const { socket, connection, inbox } = accepted;
  const { principal, serializer } = accepted.admitted;
  const channels = new Map<string, Channel>();
  const { clock } = context.runtime;
  const joinBucket = createTokenBucket({ ...JOINS, clock });
  const updateBucket = createTokenBucket({ ...PRESENCE_UPDATES, clock });
  let joins = 0;

  const turns = createTurns({
    inbox,
    connection,
    timers: context.runtime.timers,
    onFault: (error) => {
      errors.report(error);
      connection.close('fault');
    },
  });
  const session: Session = createSession({
    log,
    connection,
    principal,
    runtime: context.runtime,
    heartbeat: () => undefined,
    stallTimeoutMs: context.stallTimeoutMs,
    onFault: (error) => {
      errors.report(error);
    },
    onOvertaken: (error, accessIds) => {
      for (const channel of channels.values()) {
        if (accessIds.includes(channel.handler.accessId)) {
          send(serializer.close(channel, 'phx_error', reasonOf(error).json));
        }
      }
    },
  });
  hub.add(session);

  socket.on('message', (data, isBinary) => {
    session.markAlive();
    const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
    turns.enqueue(() => receive(bytes, isBinary));
  });
  socket.on('pong', () => {
    session.markAlive();
  });
  socket.on('close', () => {
    for (const channel of channels.values()) {
      release(channel);
    }
    channels.clear();
    hub.remove(session);
  });

  function send(frame: Buffer): void {
    if (connection.bufferedBytes > MAX_WAITING_BYTES) {
      connection.close('stalled');
    } else {
      connection.write(frame);
    }
  }

  async function receive(bytes: Buffer, isBinary: boolean): Promise<void> {
    const message = isBinary
      ? serializer.decodeBinary(bytes)
      : isUtf8(bytes)
        ? serializer.decodeText(bytes.toString('utf8'))
        : undefined;
    if (message === undefined) {
      connection.close('bad-first-message');
      return;
    }
    try {
      await answer(message);
    } catch (error) {
      send(serializer.reply(message, 'error', reasonOf(errors.report(error))));
    }
  }

  /**
   * Answers a message.
   * @throws LastseenError, which becomes an error reply
   */
  async function answer(message: ClientMessage): Promise<void> {
    const { topic, event, joinRef } = message;
    if (topic === 'phoenix' && event === 'heartbeat') {
      send(serializer.reply({ ...message, joinRef: null }, 'ok', EMPTY));
      return;
    }
    if (event === 'phx_join') {
      await join(message);
      return;
    }
    const channel = channels.get(topic);
    if (channel === undefined) {
      if (event === 'phx_leave') {
        send(serializer.reply(message, 'ok', EMPTY));
      } else {
        send(
          serializer.reply(
            { ...message, joinRef: null },
            'error',
            jsonPayload({ reason: 'unmatched topic' }),
          ),
        );
      }
      return;
    }
    // The message belongs to a closed channel. Version 1 has no join_ref.
    if (joinRef !== null && joinRef !== channel.joinRef) {
      return;
    }
    if (event === 'phx_leave') {
      leave(channel);
      send(serializer.reply(message, 'ok', EMPTY));
      send(serializer.close(channel, 'phx_close', '{}'));
      return;
    }
    if (message.payload === undefined) {
      throw new LastseenError('ERR_REQUEST_INVALID', 'the payload must be a JSON object');
    }
    const response =
      event === 'presence_update'
        ? updatePresence(channel, message.payload)
        : await channel.handler.handle(event, message.payload);
    if (response !== undefined) {
      send(serializer.reply(message, 'ok', response));
    }
  }

  async function join(message: ClientMessage): Promise<void> {
    const { topic } = message;
    if (joinBucket.take() > 0) {
      throw tooManyError('joins');
    }
    const previous = channels.get(topic);
    if (previous !== undefined) {
      leave(previous);
    }
    try {
      const channel = await acceptJoin(message);
      if (previous !== undefined) {
        send(serializer.close(previous, 'phx_close', '{}'));
      }
      if (channel !== undefined) {
        startChannel(channel);
      }
    } catch (error) {
      send(serializer.reply(message, 'error', reasonOf(errors.report(error))));
      if (previous !== undefined) {
        send(serializer.close(previous, 'phx_close', '{}'));
      }
    }
  }

  interface AcceptedJoin {
    readonly channel: Channel;
    readonly after: Place;
    readonly meta: Meta | undefined;
  }

  /** Replies to a join; returns `undefined` after a refusal. */
  async function acceptJoin(message: ClientMessage): Promise<AcceptedJoin | undefined> {
    const { topic, ref } = message;
    const handler = topicOf(topic, principal, context);
    if (handler === undefined) {
      send(
        serializer.reply({ ...message, joinRef: null }, 'error', jsonPayload({ reason: 'unmatched topic' })),
      );
      return undefined;
    }
    if (channels.size >= MAX_CHANNELS) {
      send(serializer.reply(message, 'error', jsonPayload({ reason: 'too many channels joined' })));
      return undefined;
    }
    const { after, meta } = decodeJoin(message.payload);
    context.admission.requireReader(handler.accessId);
    const place = await log.resolve(handler.accessId, { after });
    const head = laterOf(await log.lastPlace(handler.accessId), place);
    // Other sockets may have joined during the reads.
    context.admission.requireReader(handler.accessId);
    const channel: Channel = {
      topic,
      serializer,
      send,
      // A version 1 client may omit join_ref. It equals the ref of the join.
      joinRef: message.joinRef ?? ref ?? '',
      name: `${topic} ${(joins += 1)}`,
      handler,
      presenceRef: undefined,
      onlineAt: clock.now(),
    };
    const key = context.hasPresence ? { presence_key: presenceKey(principal.subject) } : {};
    send(
      serializer.reply(message, 'ok', jsonPayload({ cursor: cursorOf(place), head: cursorOf(head), ...key })),
    );
    return { channel, after: place, meta };
  }

  /** Starts a joined channel: sends the presence state, and subscribes to the feed. */
  function startChannel({ channel, after, meta }: AcceptedJoin): void {
    const { topic, handler } = channel;
    if (socket.readyState !== socket.OPEN) {
      return;
    }
    channels.set(topic, channel);
    broadcasts.join(channel);
    if (context.hasPresence && meta !== undefined) {
      channel.presenceRef = presence.track(topic, presenceKey(principal.subject), metaOf(channel, meta));
      send(serializer.push(channel, 'presence_state', { json: presence.state(topic) }));
    }
    session.subscribe({
      accessId: handler.accessId,
      after,
      name: channel.name,
      encoder: {
        events: (events) =>
          Buffer.concat(
            events.map((event) => {
              const [name, json] = handler.frameOf(event);
              return serializer.push(channel, name, { json });
            }),
          ),
        live(place) {
          const payload = handler.liveOf(place);
          return payload === undefined ? undefined : serializer.push(channel, 'live', payload);
        },
      },
    });
  }

  function updatePresence(channel: Channel, payload: Payload): Payload {
    const ref = channel.presenceRef;
    if (updateBucket.take() > 0) {
      throw tooManyError('presence updates');
    }
    const meta = decodeMeta(valueOf(payload));
    if (ref === undefined) {
      throw new LastseenError('ERR_REQUEST_INVALID', 'this channel does not take part in presence');
    }
    channel.presenceRef = presence.update(ref, metaOf(channel, meta));
    return EMPTY;
  }

  function leave(channel: Channel): void {
    channels.delete(channel.topic);
    session.unsubscribe(channel.name);
    release(channel);
  }

  function release(channel: Channel): void {
    broadcasts.leave(channel);
    if (channel.presenceRef !== undefined) {
      presence.untrack(channel.presenceRef);
    }
  }
}

function tooManyError(unit: string): LastseenError {
  return new LastseenError('ERR_RATE_LIMITED', `too many ${unit}: retry in 1 s`);
}

function metaOf(channel: Channel, meta: Meta): Meta {
  return { ...meta, online_at: channel.onlineAt };
}

/** Encodes the response of an error reply. */
function reasonOf(error: LastseenError): { readonly json: string } {
  return {
    json: JSON.stringify({
      reason: error.code,
      detail: error.message,
      ...cursorHints(error),
      ...(error.faults.length > 0 ? { errors: error.faults } : {}),
    }),
  };
}
