/** Validates an event that a publisher sends as a JSON object. The rules are the same on every gateway. */
import { LastseenError } from '../errors.ts';
import { compact, depthOf, MAX_DEPTH, memberSpan } from '../json-text.ts';
import { createdAtFault, nameFault, type NewEvent } from './event.ts';

/** The parsed object, and the range of its text: the payload keeps its text (G9). */
export interface PushedObject {
  readonly value: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** Start of the object in `text`. */
  readonly start: number;
}

/** Reports a fault. `pointer` is a JSON Pointer into the object. */
export type ReportFault = (pointer: string, detail: string) => void;

/** Decodes `created_at`, `id` and `payload`. Returns `undefined` after it has reported a fault. */
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
 * Checks the size and the nesting depth of a payload. `pointer` is the JSON Pointer of the event in the
 * request. It reports a payload that nests too deep.
 * @throws ERR_TOO_LARGE for a payload with more than `maxBytes` bytes
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
    const message = `nothing was appended: ${pointer}/payload: must have at most ${maxBytes} bytes, got ${bytes}`;
    throw new LastseenError('ERR_TOO_LARGE', message, {
      faults: [
        { pointer: `${pointer}/payload`, detail: `must have at most ${maxBytes} bytes, got ${bytes}` },
      ],
    });
  }
  if (depthOf(payload) > MAX_DEPTH) {
    report('/payload', `must not nest deeper than ${MAX_DEPTH} levels`);
  }
}
