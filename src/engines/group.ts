/**
 * The requests of one commit in columns, and what becomes of them. Arrays of scalars cross between threads at a fraction
 * of the cost of objects.
 */
import type { LastseenError } from '../errors.ts';
import type { Lineage } from '../log/place.ts';
import type { AppendOutcome, AppendRequest, RowChange } from '../log/store.ts';
import { changedMeanwhile, conflict, outcomeUnknown, storeFailed } from './refusal.ts';

/** The events of all requests, one after the other. */
export interface AppendColumns {
  /** Number of events of each request. */
  readonly counts: number[];
  readonly keys: AppendRequest['key'][];
  /** Rows that requests write, by the place of the request. */
  readonly rows: Map<number, readonly RowChange[]>;
  readonly accessIds: string[];
  readonly createdAts: (number | null)[];
  readonly ids: (string | null)[];
  readonly payloads: string[];
}

/** The part of the columns that holds a request's events. */
export interface Part {
  /** Place of the request in the group. */
  readonly request: number;
  readonly start: number;
  /** The place after its last event. */
  readonly end: number;
}

/**
 * Why a request has no receipts; `index` is −1 when the batch's key, not one of its events, is in conflict. After
 * `unknown` the request may be in the log; after any other it is not (G14).
 */
export type Refusal =
  | { readonly conflict: { readonly index: number } }
  | { readonly changed: true }
  | { readonly failed: string }
  | { readonly unknown: string };

/** Receipts of every event, in the columns' order; zeros where the request was refused. */
export interface ReceiptColumns {
  readonly positions: Float64Array;
  readonly tags: Float64Array;
  readonly versions: Float64Array;
  readonly isDuplicate: Uint8Array;
  /** By the place of the request in the group. */
  readonly refusals: Map<number, Refusal>;
}

export function columnsOf(requests: readonly AppendRequest[]): AppendColumns {
  const columns: AppendColumns = {
    counts: [],
    keys: [],
    rows: new Map(),
    accessIds: [],
    createdAts: [],
    ids: [],
    payloads: [],
  };
  for (const [place, { events, key, rows }] of requests.entries()) {
    if (rows !== undefined) {
      columns.rows.set(place, rows);
    }
    columns.counts.push(events.length);
    columns.keys.push(key);
    for (const event of events) {
      columns.accessIds.push(event.accessId);
      columns.createdAts.push(event.createdAt);
      columns.ids.push(event.id);
      columns.payloads.push(event.payload);
    }
  }
  return columns;
}

export function partsOf(columns: AppendColumns): Part[] {
  let start = 0;
  return columns.counts.map((count, request) => {
    const part = { request, start, end: start + count };
    start = part.end;
    return part;
  });
}

export function emptyReceipts(columns: AppendColumns): ReceiptColumns {
  const events = columns.accessIds.length;
  return {
    positions: new Float64Array(events),
    tags: new Float64Array(events),
    versions: new Float64Array(events),
    isDuplicate: new Uint8Array(events),
    refusals: new Map(),
  };
}

/** What each request became, in order. The places of the receipts belong to `lineage`. */
export function outcomesOf(
  requests: readonly AppendRequest[],
  receipts: ReceiptColumns,
  { lineage, recordedAt }: { readonly lineage: Lineage; readonly recordedAt: number },
): AppendOutcome[] {
  const { positions, tags, versions, isDuplicate, refusals } = receipts;
  let start = 0;
  return requests.map((request, place) => {
    const first = start;
    start += request.events.length;
    const refusal = refusals.get(place);
    if (refusal !== undefined) {
      return { refused: errorOf(request, refusal) };
    }
    return {
      receipts: request.events.map((event, index) => ({
        lineage,
        position: positions[first + index] ?? 0,
        tag: tags[first + index] ?? 0,
        accessId: event.accessId,
        version: versions[first + index] ?? 0,
        createdAt: event.createdAt ?? recordedAt,
        recordedAt,
        id: event.id,
        payload: event.payload,
        duplicate: isDuplicate[first + index] === 1,
      })),
    };
  });
}

function errorOf(request: AppendRequest, refusal: Refusal): LastseenError {
  if ('failed' in refusal) {
    return storeFailed(refusal.failed);
  }
  if ('unknown' in refusal) {
    return outcomeUnknown(refusal.unknown);
  }
  return 'changed' in refusal ? changedMeanwhile() : conflict(request, refusal.conflict.index);
}
