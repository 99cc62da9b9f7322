/**
 * Decodes and encodes frames of Phoenix channels: arrays of five and binary frames for vsn 2, objects for vsn
 * 1. Payloads keep their JSON text (G9).
 */
import { binaryFrame, textFrame } from '../../http/frame.ts';
import { elementSpans, isJsonObject, memberSpan } from '../../json-text.ts';

/** A payload: the text of a JSON object, or bytes. */
export type Payload = { readonly json: string } | { readonly bytes: Uint8Array };

/** A message of a client. */
export interface ClientMessage {
  readonly joinRef: string | null;
  readonly ref: string | null;
  readonly topic: string;
  readonly event: string;
  /** `undefined` if the payload is neither an object nor bytes. */
  readonly payload: Payload | undefined;
}

/** Status of a reply. */
export type Status = 'ok' | 'error';

/** Encodes and decodes one version of the protocol. */
export interface Serializer {
  /** Decodes a text frame; `undefined` if it contains no message. */
  decodeText(text: string): ClientMessage | undefined;
  /** Decodes a binary frame; `undefined` if it contains no message. */
  decodeBinary(bytes: Uint8Array): ClientMessage | undefined;
  /** Replies to a message. */
  reply(to: ReplyTo, status: Status, response: Payload): Buffer;
  /** Encodes an event for one channel. */
  push(channel: ChannelRef, event: string, payload: Payload): Buffer;
  /** Encodes the end of a channel: `phx_close` or `phx_error`. */
  close(channel: ChannelRef, event: string, json: string): Buffer;
  /** Encodes an event for every channel of the topic; `undefined` if this version cannot encode it. */
  broadcast(topic: string, event: string, payload: Payload): Buffer | undefined;
}

/** Addresses one joined channel. */
export interface ChannelRef {
  readonly joinRef: string;
  readonly topic: string;
}

/** The fields of a message that its reply repeats. */
export type ReplyTo = Pick<ClientMessage, 'joinRef' | 'ref' | 'topic'>;

/**
 * Maximum bytes of a ref, an event, and any name in a binary frame. The header of a binary frame has one byte
 * for each length.
 */
const MAX_NAME_BYTES = 255;

/**
 * Maximum UTF-16 code units of a topic: an access_id has at most 256 characters of two units each, and the
 * prefix needs space.
 */
const MAX_TOPIC_CHARACTERS = 600;

const KIND_PUSH = 0;
const KIND_REPLY = 1;
const KIND_BROADCAST = 2;

const EMPTY_PAYLOAD: Payload = { json: '{}' };

/** Creates a payload from an object. */
export function jsonPayload(value: Readonly<Record<string, unknown>>): Payload {
  return { json: JSON.stringify(value) };
}

/** Parses the object of a payload. */
export function valueOf(payload: Payload | undefined): Record<string, unknown> | undefined {
  return payload !== undefined && 'json' in payload
    ? (JSON.parse(payload.json) as Record<string, unknown>)
    : undefined;
}

/** The serializer of vsn 2. */
export const V2: Serializer = {
  decodeText(text) {
    const frame = parseJson(text);
    if (!Array.isArray(frame) || frame.length < 5) {
      return undefined;
    }
    const [joinRef, ref, topic, event, payload] = frame as unknown[];
    if (!isRef(joinRef) || !isRef(ref) || !isTopic(topic) || !isName(event)) {
      return undefined;
    }
    const span = elementSpans(text)[4];
    return { joinRef, ref, topic, event, payload: objectPayload(payload, text, span) };
  },
  decodeBinary(bytes) {
    const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (data.length < 5 || data[0] !== KIND_PUSH) {
      return undefined;
    }
    let offset = 5;
    const names = [1, 2, 3, 4].map((lengthIndex) => {
      const end = offset + (data[lengthIndex] ?? 0);
      const name = data.toString('utf8', offset, end);
      offset = end;
      return name;
    });
    if (offset > data.length) {
      return undefined;
    }
    const [joinRef = '', ref = '', topic = '', event = ''] = names;
    return {
      joinRef: joinRef === '' ? null : joinRef,
      ref: ref === '' ? null : ref,
      topic,
      event,
      payload: { bytes: data.subarray(offset) },
    };
  },
  reply({ joinRef, ref, topic }, status, response) {
    if ('bytes' in response) {
      return binary(KIND_REPLY, [joinRef ?? '', ref ?? '', topic, status], response.bytes);
    }
    const json = `{"status":"${status}","response":${response.json}}`;
    return array({ joinRef, ref, topic, event: 'phx_reply' }, json);
  },
  push({ joinRef, topic }, event, payload) {
    if ('bytes' in payload) {
      return binary(KIND_PUSH, [joinRef, topic, event], payload.bytes);
    }
    return array({ joinRef, ref: null, topic, event }, payload.json);
  },
  close: ({ joinRef, topic }, event, json) => array({ joinRef, ref: joinRef, topic, event }, json),
  broadcast(topic, event, payload) {
    if ('bytes' in payload) {
      return binary(KIND_BROADCAST, [topic, event], payload.bytes);
    }
    return array({ joinRef: null, ref: null, topic, event }, payload.json);
  },
};

/** The serializer of vsn 1. */
export const V1: Serializer = {
  decodeText(text) {
    const frame = parseJson(text);
    if (!isJsonObject(frame)) {
      return undefined;
    }
    const { join_ref: joinRef = null, ref, topic, event, payload } = frame;
    if (!isRef(joinRef) || !isRef(ref) || !isTopic(topic) || !isName(event)) {
      return undefined;
    }
    if (!('payload' in frame)) {
      return undefined;
    }
    const start = text.indexOf('{');
    return {
      joinRef,
      ref,
      topic,
      event,
      payload: objectPayload(payload, text, memberSpan(text, start, 'payload')),
    };
  },
  decodeBinary: () => undefined,
  reply: ({ ref, topic }, status, response) =>
    object({ ref, topic, event: 'phx_reply' }, `{"status":"${status}","response":${textOf(response)}}`),
  push: ({ topic }, event, payload) => object({ ref: null, topic, event }, textOf(payload)),
  close: ({ joinRef, topic }, event, json) => object({ ref: joinRef, topic, event }, json),
  broadcast: (topic, event, payload) =>
    'bytes' in payload ? undefined : object({ ref: null, topic, event }, payload.json),
};

/**
 * Returns the serializer of a `vsn` parameter; `undefined` for an unsupported version. Without the parameter
 * the version is 1.0.0.
 */
export function serializerOf(vsn: string | null): Serializer | undefined {
  const match = /^([12])\.0\.\d{1,4}$/.exec(vsn ?? '1.0.0');
  return match === null ? undefined : match[1] === '1' ? V1 : V2;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRef(value: unknown): value is string | null {
  return value === null || isName(value);
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && Buffer.byteLength(value) <= MAX_NAME_BYTES;
}

function isTopic(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TOPIC_CHARACTERS;
}

function objectPayload(
  value: unknown,
  text: string,
  span: { readonly start: number; readonly end: number } | undefined,
): Payload | undefined {
  if (!isJsonObject(value) || span === undefined) {
    return undefined;
  }
  return { json: text.slice(span.start, span.end) };
}

/** Returns the text of a payload. Version 1 has no binary payloads, and its clients send none. */
function textOf(payload: Payload): string {
  return 'json' in payload ? payload.json : (EMPTY_PAYLOAD as { json: string }).json;
}

type FrameHead = Pick<ClientMessage, 'joinRef' | 'ref' | 'topic' | 'event'>;

function array({ joinRef, ref, topic, event }: FrameHead, json: string): Buffer {
  const names = JSON.stringify([joinRef, ref, topic, event]);
  return textFrame(`${names.slice(0, -1)},${json}]`);
}

function object({ ref, topic, event }: Omit<FrameHead, 'joinRef'>, json: string): Buffer {
  return textFrame(
    `{"topic":${JSON.stringify(topic)},"event":${JSON.stringify(event)},"payload":${json},"ref":${JSON.stringify(ref)}}`,
  );
}

/** @throws RangeError naming the field that is too long */
function binary(kind: number, names: readonly string[], data: Uint8Array): Buffer {
  const fields = names.map((name) => Buffer.from(name));
  for (const field of fields) {
    if (field.length > MAX_NAME_BYTES) {
      throw new RangeError(
        `a name in a binary frame has at most ${MAX_NAME_BYTES} bytes, got ${field.length}: ${field.toString('utf8', 0, 40)}…`,
      );
    }
  }
  return binaryFrame(
    Buffer.concat([Buffer.from([kind, ...fields.map((field) => field.length)]), ...fields, data]),
  );
}
