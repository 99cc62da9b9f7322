/**
 * Broadcasts to the members of `notifications`. A broadcast is an event of a feed of its own, so that it
 * reaches every node. Its payload is `{"event":NAME,"payload":{…}}` or `{"event":NAME,"binary":BASE64}`.
 */
import { compact, isJsonObject, memberSpan } from '../../json-text.ts';
import type { LogEvent } from '../../log/event.ts';
import { followFeed } from '../../log/follow.ts';
import type { Log } from '../../log/log.ts';
import type { Timers } from '../../runtime.ts';
import type { Payload, Serializer } from './codec.ts';

/** The feed of broadcasts. */
export const BROADCASTS = 'phoenix:notifications';

/** A channel that receives broadcasts. */
export interface Member {
  readonly topic: string;
  readonly serializer: Serializer;
  /** The `phx_ref` in presence; `undefined` if the channel does not take part in presence. */
  readonly presenceRef: string | undefined;
  send(frame: Buffer): void;
}

/** One broadcast on this node. */
export interface Broadcast {
  readonly topic: string;
  readonly event: string;
  readonly payload: Payload;
  /** Selects the members that receive the frame. Default: every member of the topic. */
  readonly isRecipient?: (member: Member) => boolean;
}

/** The members of all topics on this node. */
export interface Broadcasts {
  join(member: Member): void;
  leave(member: Member): void;
  /** Sends a frame to members of the topic on this node. */
  broadcast(broadcast: Broadcast): void;
  /** Broadcasts to the members of `notifications` on every node. Resolves after the broadcast is on disk. */
  append(event: string, payload: Payload): Promise<void>;
  stop(): void;
}

/** Follows the feed of broadcasts. */
export function createBroadcasts(
  log: Log,
  { timers, onFault }: { readonly timers: Timers; readonly onFault: (error: unknown) => void },
): Broadcasts {
  const members = new Map<string, Set<Member>>();
  const stop = followFeed(log, {
    accessId: BROADCASTS,
    timers,
    onEvent: (event) => {
      const decoded = broadcastOf(event);
      if (decoded !== undefined) {
        broadcast({ topic: 'notifications', ...decoded });
      }
    },
    onFault,
  });

  /** Encodes one frame for each protocol version. */
  function broadcast({ topic, event, payload, isRecipient = () => true }: Broadcast): void {
    const frames = new Map<Serializer, Buffer | undefined>();
    for (const member of members.get(topic) ?? []) {
      if (!isRecipient(member)) {
        continue;
      }
      const { serializer } = member;
      if (!frames.has(serializer)) {
        frames.set(serializer, serializer.broadcast(topic, event, payload));
      }
      const frame = frames.get(serializer);
      if (frame !== undefined) {
        member.send(frame);
      }
    }
  }

  return {
    join(member) {
      const topicMembers = members.get(member.topic);
      if (topicMembers === undefined) {
        members.set(member.topic, new Set([member]));
      } else {
        topicMembers.add(member);
      }
    },
    leave(member) {
      const topicMembers = members.get(member.topic);
      topicMembers?.delete(member);
      if (topicMembers?.size === 0) {
        members.delete(member.topic);
      }
    },
    broadcast,
    async append(event, payload) {
      const name = JSON.stringify(event);
      const text =
        'json' in payload
          ? `{"event":${name},"payload":${payload.json}}`
          : `{"event":${name},"binary":"${Buffer.from(payload.bytes).toString('base64')}"}`;
      await log.append({
        events: [{ accessId: BROADCASTS, createdAt: null, id: null, payload: compact(text) }],
        key: null,
      });
    },
    stop,
  };
}

/**
 * Decodes a broadcast. Connectors can push to the feed, so other payloads are ignored, and so are the events
 * that the protocol reserves.
 */
function broadcastOf({ payload: text }: LogEvent): { event: string; payload: Payload } | undefined {
  const value = JSON.parse(text) as unknown;
  if (!isJsonObject(value)) {
    return undefined;
  }
  const { event, payload, binary } = value;
  if (typeof event !== 'string' || /^(phx_|presence_)/.test(event) || Buffer.byteLength(event) > 255) {
    return undefined;
  }
  if (typeof binary === 'string') {
    return { event, payload: { bytes: Buffer.from(binary, 'base64') } };
  }
  const span = memberSpan(text, 0, 'payload');
  if (!isJsonObject(payload) || span === undefined) {
    return undefined;
  }
  return { event, payload: { json: text.slice(span.start, span.end) } };
}
