/**
 * Decodes and encodes messages of /users/socket in both dialects of the original: numeric (`eventType`) and
 * named (`type`). Values of clients (the message of an echo, meta, files, buckets) keep their text.
 */
import { cursorHints, LastseenError, quote } from '../../errors.ts';
import { textFrame } from '../../http/frame.ts';
import type { MetaEntry } from '../../identity/user-store.ts';
import { compact, depthOf, isJsonObject, MAX_DEPTH, memberSpan, memberSpans } from '../../json-text.ts';
import { nameFault } from '../../log/event.ts';

/** The dialects of the original. */
export const DIALECTS = ['numeric', 'named'] as const;

/** One of the dialects. */
export type Dialect = (typeof DIALECTS)[number];

/** The events of the wire. Their order gives their numbers: `eventType` 1 is the first. */
const EVENT_NAMES = [
  'Login',
  'Logout',
  'Activated',
  'Removed',
  'FileUploaded',
  'FileRemoved',
  'BucketUploaded',
  'BucketRemoved',
  'MetaRequest',
  'Echo',
] as const;

/** The name of an event. */
export type EventName = (typeof EVENT_NAMES)[number];

/** A request of a client. */
export type Request =
  | { readonly type: 'echo'; readonly message: string; readonly isBroadcast: boolean }
  | { readonly type: 'resume'; readonly after: string }
  | { readonly type: 'meta'; readonly username: string | undefined; readonly operation: MetaOperation };

/** The operations of a meta request. */
export type MetaOperation =
  | { readonly type: 'get'; readonly property: string | undefined }
  | { readonly type: 'set'; readonly entry: MetaEntry }
  | { readonly type: 'replace'; readonly entries: readonly MetaEntry[]; readonly text: string };

/** A message, decoded as far as possible: a reply to an invalid message still knows its dialect and event. */
export interface Decoded {
  /** The dialect; `undefined` if the message does not show it. */
  readonly dialect: Dialect | undefined;
  /** The event of the reply; `undefined` if it is unknown. */
  readonly eventName: EventName | undefined;
  /**
   * Decodes the request.
   * @throws ERR_REQUEST_INVALID naming the field
   */
  request(): Request;
}

/** Decodes a message. `text` is `undefined` for a message that is not UTF-8 text. */
export function decode(text: string | undefined): Decoded {
  const message = objectOf(text);
  if (text === undefined || message === undefined) {
    return undecodable(undefined, undefined, invalid('', `must be a JSON object, got ${kindOf(text)}`));
  }
  const { eventType, type } = message;
  if (eventType === undefined && type === 'resume') {
    return { dialect: undefined, eventName: undefined, request: () => decodeResume(message) };
  }
  const dialect = eventType !== undefined ? 'numeric' : type !== undefined ? 'named' : undefined;
  if (dialect === undefined) {
    return undecodable(undefined, undefined, invalid('', 'must have `eventType` or `type`'));
  }
  const name = dialect === 'numeric' ? nameOf(eventType) : EVENT_NAMES.find((known) => known === type);
  switch (name) {
    case 'MetaRequest':
      return { dialect, eventName: name, request: () => decodeMeta(message, text) };
    case 'Echo':
      return { dialect, eventName: name, request: () => decodeEcho(message, text) };
    default: {
      const field = dialect === 'numeric' ? '/eventType' : '/type';
      const expected = dialect === 'numeric' ? '9 (meta) or 10 (echo)' : '"MetaRequest", "Echo" or "resume"';
      return undecodable(
        dialect,
        name,
        invalid(field, `must be ${expected}, got ${quote(message[field.slice(1)])}`),
      );
    }
  }
}

function undecodable(
  dialect: Dialect | undefined,
  eventName: EventName | undefined,
  error: LastseenError,
): Decoded {
  return {
    dialect,
    eventName,
    request() {
      throw error;
    },
  };
}

function nameOf(eventType: unknown): EventName | undefined {
  return typeof eventType === 'number' ? EVENT_NAMES[eventType - 1] : undefined;
}

function decodeResume({ after }: Record<string, unknown>): Request {
  if (typeof after === 'string') {
    return { type: 'resume', after };
  }
  throw invalid('/after', `must be a cursor, "start" or "now", got ${quote(after)}`);
}

function decodeEcho({ broadcast }: Record<string, unknown>, text: string): Request {
  const message = valueText(text, 'message');
  if (message === undefined) {
    throw invalid('/message', 'is required: any JSON value');
  }
  if (broadcast !== undefined && typeof broadcast !== 'boolean') {
    throw invalid('/broadcast', `must be true or false, got ${quote(broadcast)}`);
  }
  return { type: 'echo', message, isBroadcast: broadcast === true };
}

function decodeMeta(message: Record<string, unknown>, text: string): Request {
  const { username, property } = message;
  if (username !== undefined && nameFault(username) !== undefined) {
    throw new LastseenError('ERR_REQUEST_INVALID', 'Please enter a valid username');
  }
  if (property !== undefined) {
    const fault = nameFault(property);
    if (fault !== undefined) {
      throw invalid('/property', fault);
    }
  }
  const name = property as string | undefined;
  return {
    type: 'meta',
    username: username as string | undefined,
    operation: metaOperationOf(message, text, name),
  };
}

function metaOperationOf(
  message: Record<string, unknown>,
  text: string,
  property: string | undefined,
): MetaOperation {
  const value = valueText(text, 'val');
  if (value === undefined) {
    return { type: 'get', property };
  }
  if (depthOf(value) > MAX_DEPTH) {
    throw invalid('/val', `must not nest deeper than ${MAX_DEPTH} levels`);
  }
  if (property !== undefined) {
    return { type: 'set', entry: { property, value } };
  }
  const { val } = message;
  if (!isJsonObject(val)) {
    throw invalid('/val', `must be an object in a request without \`property\`, got ${quote(val)}`);
  }
  const entries = new Map<string, string>();
  for (const { name, value: span } of memberSpans(value, 0)) {
    const fault = nameFault(name);
    if (fault !== undefined) {
      throw invalid('/val', `contains an invalid property name: it ${fault}`);
    }
    entries.set(name, value.slice(span.start, span.end));
  }
  const entryList = [...entries].map(([name, entry]) => ({ property: name, value: entry }));
  return { type: 'replace', entries: entryList, text: metaText(entryList) };
}

/** Encodes properties as a JSON object. */
export function metaText(entries: readonly MetaEntry[]): string {
  return `{${entries.map(({ property, value }) => `${JSON.stringify(property)}:${value}`).join(',')}}`;
}

/** An event for a reader. A socket that has resumed receives `cursor`. */
export interface Push {
  readonly name: EventName;
  readonly username: string;
  /** JSON text of the file or bucket. */
  readonly subject: string | undefined;
  readonly cursor: string | undefined;
}

/** Events without a username in the numeric dialect. */
const EVENTS_WITHOUT_USERNAME: readonly EventName[] = ['FileRemoved', 'BucketRemoved'];

/** Encodes an event. */
export function pushFrame(dialect: Dialect, { name, username, subject, cursor }: Push): Buffer {
  const hasUsername = dialect === 'named' || !EVENTS_WITHOUT_USERNAME.includes(name);
  return frameOf(dialect, name, {
    username: hasUsername ? JSON.stringify(username) : undefined,
    [subjectField(name)]: subject,
    cursor: cursor === undefined ? undefined : JSON.stringify(cursor),
  });
}

/** Returns the name of the member with the file or bucket. */
export function subjectField(name: EventName): 'file' | 'bucket' {
  return name.startsWith('File') ? 'file' : 'bucket';
}

/** Encodes an echo. `message` is JSON text. */
export function echoFrame(dialect: Dialect, message: string): Buffer {
  return frameOf(dialect, 'Echo', { message });
}

/**
 * Encodes the reply to a meta request. `value` is JSON text; `undefined` for a property that does not exist.
 */
export function metaFrame(
  dialect: Dialect,
  reply: {
    readonly value: string | undefined;
    readonly property: string | undefined;
    readonly username: string;
  },
): Buffer {
  const { value: val, property, username } = reply;
  if (dialect === 'numeric') {
    return frameOf(dialect, 'MetaRequest', { val });
  }
  return frameOf(dialect, 'MetaRequest', {
    val,
    property: property === undefined ? undefined : JSON.stringify(property),
    username: JSON.stringify(username),
  });
}

/** Encodes an error. The error of a meta request contains no code, like that of the original. */
export function errorFrame(dialect: Dialect, eventName: EventName | undefined, error: LastseenError): Buffer {
  const isPlain = eventName === 'MetaRequest';
  return frameOf(dialect, eventName, {
    error: JSON.stringify(error.message),
    code: isPlain ? undefined : JSON.stringify(error.code),
    ...(isPlain
      ? {}
      : Object.fromEntries(
          Object.entries(cursorHints(error)).map(([name, value]) => [name, JSON.stringify(value)]),
        )),
  });
}

/** Encodes a frame of a socket that has resumed. It is the same in both dialects. */
export function resumeFrame(
  type: 'resumed' | 'live' | 'heartbeat',
  cursors: Readonly<Record<string, string>>,
): Buffer {
  return textFrame(JSON.stringify({ type, ...cursors }));
}

/**
 * Encodes a frame. Without an event name the event is 0 or "Error". Members with the value `undefined` are
 * omitted.
 */
function frameOf(
  dialect: Dialect,
  eventName: EventName | undefined,
  members: Readonly<Record<string, string | undefined>>,
): Buffer {
  const typeMember =
    dialect === 'numeric'
      ? `"eventType":${eventName === undefined ? 0 : EVENT_NAMES.indexOf(eventName) + 1}`
      : `"type":"${eventName ?? 'Error'}"`;
  const otherMembers = Object.entries(members).map(([name, text]) =>
    text === undefined ? '' : `,${JSON.stringify(name)}:${text}`,
  );
  return textFrame(`{${typeMember}${otherMembers.join('')}}`);
}

function valueText(text: string, name: string): string | undefined {
  const span = memberSpan(text, text.indexOf('{'), name);
  return span === undefined ? undefined : compact(text.slice(span.start, span.end));
}

function objectOf(text: string | undefined): Record<string, unknown> | undefined {
  if (text === undefined) {
    return undefined;
  }
  try {
    const value = JSON.parse(text) as unknown;
    if (!isJsonObject(value)) {
      return undefined;
    }
    return value;
  } catch {
    return undefined;
  }
}

function kindOf(text: string | undefined): string {
  return text === undefined ? 'bytes that are not UTF-8' : quote(text);
}

function invalid(pointer: string, detail: string): LastseenError {
  const message = `${pointer === '' ? 'the message' : `\`${pointer.slice(1)}\``} ${detail}`;
  return new LastseenError('ERR_REQUEST_INVALID', message, { faults: [{ pointer, detail }] });
}
