/**
 * Messages of /users/socket ⇄ values, in both dialects of the original: numeric (`eventType`) and named (`type`). Pure.
 * Values of others (an echo's message, meta, files, buckets) keep their text.
 */
import { LastseenError, quote } from '../../errors.ts';
import { textFrame } from '../../http/frame.ts';
import type { MetaEntry } from '../../identity/user-store.ts';
import { compact, depthOf, isJsonObject, MAX_DEPTH, memberSpan, memberSpans } from '../../json-text.ts';
import { nameFault } from '../../log/event.ts';

export const DIALECTS = ['numeric', 'named'] as const;

export type Dialect = (typeof DIALECTS)[number];

/** The events of the wire by their number there: `eventType` 1 is the first. */
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

export type EventName = (typeof EVENT_NAMES)[number];

/** What a client may ask for. */
export type Request =
  | { readonly type: 'echo'; readonly message: string; readonly isBroadcast: boolean }
  | { readonly type: 'resume'; readonly after: string }
  | { readonly type: 'meta'; readonly username: string | undefined; readonly operation: MetaOperation };

/** The four forms of a meta request. */
export type MetaOperation =
  | { readonly type: 'get'; readonly property: string | undefined }
  | { readonly type: 'set'; readonly entry: MetaEntry }
  | { readonly type: 'replace'; readonly entries: readonly MetaEntry[]; readonly text: string };

/** A message, taken apart as far as it goes: what a reply needs is known even when the rest is wrong. */
export interface Decoded {
  /** `undefined` when the message does not show it. */
  readonly dialect: Dialect | undefined;
  /** Which event the reply is about, if that is known. */
  readonly eventName: EventName | undefined;
  /** @throws ERR_REQUEST_INVALID naming the field */
  request(): Request;
}

/** `text` is `undefined` when the message was no text. */
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
    throw invalid('/val', `must not nest deeper than ${MAX_DEPTH}`);
  }
  if (property !== undefined) {
    return { type: 'set', entry: { property, value } };
  }
  const { val } = message;
  if (!isJsonObject(val)) {
    throw invalid('/val', `must be an object when no \`property\` is named, got ${quote(val)}`);
  }
  const entries = new Map<string, string>();
  for (const { name, value: span } of memberSpans(value, 0)) {
    const fault = nameFault(name);
    if (fault !== undefined) {
      throw invalid('/val', `has a property whose name ${fault}`);
    }
    entries.set(name, value.slice(span.start, span.end));
  }
  const entryList = [...entries].map(([name, entry]) => ({ property: name, value: entry }));
  return { type: 'replace', entries: entryList, text: metaText(entryList) };
}

/** Properties as the object that they make. */
export function metaText(entries: readonly MetaEntry[]): string {
  return `{${entries.map(({ property, value }) => `${JSON.stringify(property)}:${value}`).join(',')}}`;
}

/** An event as its readers see it: `cursor` only on a socket that has asked to resume. */
export interface Push {
  readonly name: EventName;
  readonly username: string;
  /** Text of the file or bucket. */
  readonly subject: string | undefined;
  readonly cursor: string | undefined;
}

/** Members of the numeric dialect that name no user. */
const EVENTS_WITHOUT_USERNAME: readonly EventName[] = ['FileRemoved', 'BucketRemoved'];

export function pushFrame(dialect: Dialect, { name, username, subject, cursor }: Push): Buffer {
  const hasUsername = dialect === 'named' || !EVENTS_WITHOUT_USERNAME.includes(name);
  return frameOf(dialect, name, {
    username: hasUsername ? JSON.stringify(username) : undefined,
    [subjectField(name)]: subject,
    cursor: cursor === undefined ? undefined : JSON.stringify(cursor),
  });
}

/** The member that holds what the event is about, beside the user. */
export function subjectField(name: EventName): 'file' | 'bucket' {
  return name.startsWith('File') ? 'file' : 'bucket';
}

/** `message` is JSON text. */
export function echoFrame(dialect: Dialect, message: string): Buffer {
  return frameOf(dialect, 'Echo', { message });
}

/** `value` is JSON text; `undefined` for a property that is not there. */
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

/** A failed meta request has nothing but the text, as the original; everything else a code beside it. */
export function errorFrame(dialect: Dialect, eventName: EventName | undefined, error: LastseenError): Buffer {
  const isPlain = eventName === 'MetaRequest';
  return frameOf(dialect, eventName, {
    error: JSON.stringify(error.message),
    code: isPlain ? undefined : JSON.stringify(error.code),
    floor: isPlain || error.floor === undefined ? undefined : JSON.stringify(error.floor),
  });
}

/** What only those see who have asked to resume: the same in both dialects. */
export function resumeFrame(
  type: 'resumed' | 'live' | 'heartbeat',
  cursors: Readonly<Record<string, string>>,
): Buffer {
  return textFrame(JSON.stringify({ type, ...cursors }));
}

/** `about` unknown: 0, or "Error". Members that are `undefined` are left out. */
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
  return text === undefined ? 'bytes that are no UTF-8' : quote(text);
}

function invalid(pointer: string, detail: string): LastseenError {
  const message = `${pointer === '' ? 'the message' : `\`${pointer.slice(1)}\``} ${detail}`;
  return new LastseenError('ERR_REQUEST_INVALID', message, { faults: [{ pointer, detail }] });
}
