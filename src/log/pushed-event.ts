/** The rules of an event that a publisher sends as a JSON object, the same on every gateway. */
import { LastseenError } from '../errors.ts';
import { compact, depthOf, MAX_DEPTH, memberSpan } from '../json-text.ts';
import { createdAtFault, nameFault, type NewEvent } from './event.ts';

/** The object as it was parsed, and where its text begins: a payload keeps its own text (G9). */
export interface PushedObject {
  readonly value: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** Of the object in `text`. */
  readonly start: number;
}

/** Collects what is wrong: `pointer` is a JSON Pointer into the object. */
export type ReportFault = (pointer: string, detail: string) => void;

/** `created_at`, `id` and `payload` of the object; `undefined` when a fault was reported. */
export function decodePushedObject(
  { value, text, start }: PushedObject,
  report: ReportFault,
): Omit<NewEvent, 'accessId'> | undefined {
  const createdAt = value['created_at'];
  const id = value['id'] ?? null;
  const span = memberSpan(text, start, 'payload');
  const timeFault = createdAtFault(createdAt);
  const idFault = id === null ? undefined : nameFault(id);
  if (timeFault !== undefined) {
    report('/created_at', timeFault);
  }
  if (idFault !== undefined) {
    report('/id', idFault);
  }
  if (span === undefined) {
    report('/payload', 'is required: any JSON value');
  }
  if (timeFault !== undefined || idFault !== undefined || span === undefined) {
    return undefined;
  }
  return {
    createdAt: createdAt as number,
    id: id as string | null,
    payload: compact(text.slice(span.start, span.end)),
  };
}

/**
 * Reports a payload that nests too deep. `pointer` is that of the event in what was sent.
 * @throws ERR_TOO_LARGE for one that has too many bytes
 */
export function checkPayload(
  payload: string,
  {
    maxBytes,
    pointer,
    report,
  }: { readonly maxBytes: number; readonly pointer: string; readonly report: ReportFault },
): void {
  const bytes = Buffer.byteLength(payload);
  if (bytes > maxBytes) {
    const message = `${pointer}/payload: may have at most ${maxBytes} bytes, got ${bytes}: nothing was appended`;
    throw new LastseenError('ERR_TOO_LARGE', message, {
      faults: [{ pointer: `${pointer}/payload`, detail: 'is too large' }],
    });
  }
  if (depthOf(payload) > MAX_DEPTH) {
    report('/payload', `must not nest deeper than ${MAX_DEPTH}`);
  }
}
