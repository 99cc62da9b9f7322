/**
 * Decodes bodies of POST /push_events, and encodes receipts. Payloads keep the text of the publisher (G9).
 */
import { z } from 'zod';
import { type InputFault, LastseenError, quote } from '../../errors.ts';
import { parseJson } from '../../http/body.ts';
import { compact, elementSpans, isJsonObject, type Span } from '../../json-text.ts';
import { cursorOf } from '../../log/cursor.ts';
import { accessIdFault, invalidEvents, nameFault, type NewEvent } from '../../log/event.ts';
import { checkPayload, decodePushedObject, type ReportFault } from '../../log/pushed-event.ts';
import type { Receipt } from '../../log/store.ts';

/** Accepted media types. */
export const PUSH_TYPES = [
  'application/json',
  'application/cloudevents-batch+json',
  'application/cloudevents+json',
];

/** Limits of a push. */
export interface PushLimits {
  readonly maxBatchEvents: number;
  readonly maxPayloadBytes: number;
}

/** Maximum number of faults in one response. */
const MAX_FAULTS = 20;

/**
 * Decodes the events of a body of one of `PUSH_TYPES`.
 * @throws ERR_BODY_MALFORMED, ERR_TOO_LARGE, or ERR_EVENT_INVALID naming each event and field
 */
export function decodePush(type: string, text: string, limits: PushLimits): NewEvent[] {
  const body = parseJson(text);
  const isSingle = type === 'application/cloudevents+json';
  if (!isSingle && !Array.isArray(body)) {
    throw invalidEvents([{ pointer: '', detail: `must be a JSON array of events, got ${quote(body)}` }]);
  }
  const values: readonly unknown[] = isSingle ? [body] : (body as unknown[]);
  if (values.length > limits.maxBatchEvents) {
    const message = `nothing was appended: a batch must have at most ${limits.maxBatchEvents} events, got ${values.length}`;
    throw new LastseenError('ERR_TOO_LARGE', message);
  }
  const spans = elementSpans(text);
  const decode = type === 'application/json' ? decodeEvent : decodeCloudEvent;
  const faults: InputFault[] = [];
  const events: NewEvent[] = [];
  values.forEach((value, index) => {
    if (faults.length >= MAX_FAULTS) {
      return;
    }
    const span = spans[index];
    const pointer = isSingle ? '' : `/${index}`;
    const report = (field: string, detail: string): void => {
      faults.push({ pointer: `${pointer}${field}`, detail });
    };
    if (!isJsonObject(value) || span === undefined) {
      report('', `must be an object, got ${quote(value)}`);
      return;
    }
    const event = decode({ value, text, span, report });
    if (event === undefined) {
      return;
    }
    checkPayload(event.payload, { maxBytes: limits.maxPayloadBytes, pointer, report });
    events.push(event);
  });
  if (faults.length > 0) {
    throw invalidEvents(faults);
  }
  return events;
}

interface PushedItem {
  readonly value: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly span: Span;
  readonly report: ReportFault;
}

function decodeEvent({ value, text, span, report }: PushedItem): NewEvent | undefined {
  const name = 'accessid' in value ? 'accessid' : 'access_id';
  const accessId = value[name];
  const accessFault = accessIdFault(accessId);
  if (accessFault !== undefined) {
    report(`/${name}`, accessFault);
  }
  const event = decodePushedObject({ value, text, start: span.start }, report);
  if (event === undefined || accessFault !== undefined) {
    return undefined;
  }
  return { accessId: accessId as string, ...event };
}

/**
 * CloudEvents 1.0 §3: the required attributes, and `subject` and `time`, which set the access_id and
 * `created_at`.
 */
export const CloudEvent = z.object({
  specversion: z.literal('1.0'),
  id: z.string().min(1),
  source: z.string().min(1),
  type: z.string().min(1),
  subject: z.string(),
  time: z.iso.datetime({ offset: true }).optional(),
});

function decodeCloudEvent({ value, text, span, report }: PushedItem): NewEvent | undefined {
  const parsed = CloudEvent.safeParse(value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      report(`/${issue.path.join('/')}`, issue.message);
    }
    return undefined;
  }
  const { id, source, subject, time } = parsed.data;
  // A source is a URI reference without spaces, so the pair is unambiguous.
  const name = `${source} ${id}`;
  const subjectFault = accessIdFault(subject);
  const idFault = nameFault(name);
  if (subjectFault !== undefined) {
    report('/subject', subjectFault);
  }
  if (idFault !== undefined) {
    report('/id', `source and id together: ${idFault}`);
  }
  if (subjectFault !== undefined || idFault !== undefined) {
    return undefined;
  }
  return {
    accessId: subject,
    createdAt: time === undefined ? null : Date.parse(time),
    id: name,
    payload: compact(text.slice(span.start, span.end)),
  };
}

/** Encodes the response to `Prefer: return=representation`. */
export function encodeReceipts(events: readonly NewEvent[], receipts: readonly Receipt[]): string {
  const duplicates = receipts.filter((receipt) => receipt.duplicate).length;
  return JSON.stringify({
    appended: receipts.length - duplicates,
    duplicates,
    events: receipts.map((receipt, index) => ({
      access_id: events[index]?.accessId,
      version: receipt.version,
      cursor: cursorOf(receipt),
      duplicate: receipt.duplicate,
    })),
  });
}
