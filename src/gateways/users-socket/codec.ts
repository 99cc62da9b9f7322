/**
 * Messages of /users/socket ⇄ values, in both dialects of the original: numeric (`eventType`) and named (`type`). Pure.
 * Values of others (an echo's message, meta, files, buckets) keep their text.
 */
import { LastseenError, shown } from '../../errors.ts';
import { textFrame } from '../../http/frame.ts';
import type { MetaEntry } from '../../identity/user-store.ts';
import { compact, depthOf, isJsonObject, MAX_DEPTH, memberSpan, memberSpans } from '../../json-text.ts';
import { nameFault } from '../../log/event.ts';

export const DIALECTS = ['numeric', 'named'] as const;

export type Dialect = (typeof DIALECTS)[number];

/** The events of the wire by their number there: `eventType` 1 is the first. */
const NAMES = [
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

export type EventName = (typeof NAMES)[number];

/** What a client may ask for. */
export type Request =
  | { readonly type: 'echo'; readonly message: string; readonly isBroadcast: boolean }
  | { readonly type: 'resume'; readonly after: string }
  | { readonly type: 'meta'; readonly username: string | undefined; readonly act: MetaAct };

/** The four forms of a meta request. */
export type MetaAct =
  | { readonly type: 'get'; readonly property: string | undefined }
  | { readonly type: 'set'; readonly entry: MetaEntry }
  | { readonly type: 'replace'; readonly entries: readonly MetaEntry[]; readonly text: string };

/** A message, taken apart as far as it goes: what a reply needs is known even when the rest is wrong. */
export interface Decoded {
  /** `undefined` when the message does not show it. */
  readonly dialect: Dialect | undefined;
  /** Which event the reply is about, if that is known. */
  readonly about: EventName | undefined;
  /** @throws ERR_REQUEST_INVALID naming the field */
  request(): Request;
}

/** `text` is `undefined` when the message was no text. */
export function decode(text: string | undefined): Decoded {
  const message = objectOf(text);
  if (text === undefined || message === undefined) {
    return wrong(undefined, undefined, invalid('', `must be a JSON object, got ${kindOf(text)}`));
  }
  const { eventType, type } = message;
  if (eventType === undefined && type === 'resume') {
    return { dialect: undefined, about: undefined, request: () => decodeResume(message) };
  }
  const dialect = eventType !== undefined ? 'numeric' : type !== undefined ? 'named' : undefined;
  if (dialect === undefined) {
    return wrong(undefined, undefined, invalid('', 'must have `eventType` or `type`'));
  }
  const name = dialect === 'numeric' ? nameOf(eventType) : NAMES.find((known) => known === type);
  switch (name) {
    case 'MetaRequest':
      return { dialect, about: name, request: () => decodeMeta(message, text) };
    case 'Echo':
      return { dialect, about: name, request: () => decodeEcho(message, text) };
    default: {
      const field = dialect === 'numeric' ? '/eventType' : '/type';
      const wanted = dialect === 'numeric' ? '9 (meta) or 10 (echo)' : '"MetaRequest", "Echo" or "resume"';
      return wrong(dialect, name, invalid(field, `must be ${wanted}, got ${shown(message[field.slice(1)])}`));
    }
  }
}

function wrong(dialect: Dialect | undefined, about: EventName | undefined, error: LastseenError): Decoded {
  return {
    dialect,
    about,
    request() {
      throw error;
    },
  };
}

function nameOf(eventType: unknown): EventName | undefined {
  return typeof eventType === 'number' ? NAMES[eventType - 1] : undefined;
}

function decodeResume({ after }: Record<string, unknown>): Request {
  if (typeof after === 'string') {
    return { type: 'resume', after };
  }
  throw invalid('/after', `must be a cursor, "start" or "now", got ${shown(after)}`);
}

function decodeEcho({ broadcast }: Record<string, unknown>, text: string): Request {
  const message = valueText(text, 'message');
  if (message === undefined) {
    throw invalid('/message', 'is required: any JSON value');
  }
  if (broadcast !== undefined && typeof broadcast !== 'boolean') {
    throw invalid('/broadcast', `must be true or false, got ${shown(broadcast)}`);
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
  return { type: 'meta', username: username as string | undefined, act: metaActOf(message, text, name) };
}

function metaActOf(message: Record<string, unknown>, text: string, property: string | undefined): MetaAct {
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
    throw invalid('/val', `must be an object when no \`property\` is named, got ${shown(val)}`);
  }
  const entries = new Map<string, string>();
  for (const { name, value: span } of memberSpans(value, 0)) {
    const fault = nameFault(name);
    if (fault !== undefined) {
      throw invalid('/val', `has a property whose name ${fault}`);
    }
    entries.set(name, value.slice(span.start, span.end));
  }
  const list = [...entries].map(([name, entry]) => ({ property: name, value: entry }));
  return { type: 'replace', entries: list, text: metaText(list) };
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
const WITHOUT_USERNAME: readonly EventName[] = ['FileRemoved', 'BucketRemoved'];

export function pushFrame(dialect: Dialect, { name, username, subject, cursor }: Push): Buffer {
  const hasUsername = dialect === 'named' || !WITHOUT_USERNAME.includes(name);
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
export function errorFrame(dialect: Dialect, about: EventName | undefined, error: LastseenError): Buffer {
  const isPlain = about === 'MetaRequest';
  return frameOf(dialect, about, {
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
  about: EventName | undefined,
  members: Readonly<Record<string, string | undefined>>,
): Buffer {
  const head =
    dialect === 'numeric'
      ? `"eventType":${about === undefined ? 0 : NAMES.indexOf(about) + 1}`
      : `"type":"${about ?? 'Error'}"`;
  const rest = Object.entries(members).map(([name, text]) =>
    text === undefined ? '' : `,${JSON.stringify(name)}:${text}`,
  );
  return textFrame(`{${head}${rest.join('')}}`);
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
  return text === undefined ? 'bytes that are no UTF-8' : shown(text);
}

function invalid(pointer: string, detail: string): LastseenError {
  const message = `${pointer === '' ? 'the message' : `\`${pointer.slice(1)}\``} ${detail}`;
  return new LastseenError('ERR_REQUEST_INVALID', message, { faults: [{ pointer, detail }] });
}
