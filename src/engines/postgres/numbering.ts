/** Numbering a group whose ids and keys were looked up before: what is new, what is repeated, what is refused. Pure. */
import type { Event } from '../../log/event.ts';
import type { AppendOutcome, AppendRequest, Receipt } from '../../log/store.ts';
import { changedMeanwhile, conflict } from '../refusal.ts';

export interface Stored {
  readonly position: number;
  readonly version: number;
  readonly created_at: number;
  readonly payload: string;
}

export interface StoredBatch {
  readonly fingerprint: string;
  readonly first_position: number;
}

/** What the group needs to know of the log before it can be numbered. */
export interface Known {
  readonly batches: ReadonlyMap<string, StoredBatch>;
  readonly events: ReadonlyMap<string, Stored>;
  readonly versions: Map<string, number>;
}

export const nameOf = (accessId: string, id: string): string => JSON.stringify([accessId, id]);

export interface Draft {
  readonly outcomes: AppendOutcome[];
  readonly rows: Event[];
  readonly batches: (readonly [key: string, fingerprint: string, first: number, last: number])[];
}

/** Gives every new event of the group its position and version; refuses what conflicts. Pure. */
export function number(
  requests: readonly AppendRequest[],
  head: number,
  known: Known,
  recordedAt: number,
  changed: ReadonlySet<number> = new Set(),
): Draft {
  const draft: Draft = { outcomes: [], rows: [], batches: [] };
  /** What this group itself appends: its later requests may repeat it. */
  const fresh = new Map<string, Stored>();
  const batches = new Map(known.batches);
  for (const [at, request] of requests.entries()) {
    draft.outcomes.push(changed.has(at) ? { refused: changedMeanwhile() } : numberOne(request));
  }
  return draft;

  function numberOne(request: AppendRequest): AppendOutcome {
    const { events, key } = request;
    const earlier = key === null ? undefined : batches.get(key.value);
    if (earlier !== undefined) {
      if (earlier.fingerprint !== key?.fingerprint) {
        return { refused: conflict(request, -1) };
      }
      return { receipts: repeated(request, earlier.first_position) };
    }
    const receipts: Receipt[] = [];
    const rows: Event[] = [];
    const named = new Map<string, Stored>();
    const versions = new Map<string, number>();
    for (const [index, event] of events.entries()) {
      const name = event.id === null ? undefined : nameOf(event.accessId, event.id);
      const stored =
        name === undefined ? undefined : (named.get(name) ?? fresh.get(name) ?? known.events.get(name));
      if (stored !== undefined) {
        const isSame =
          stored.payload === event.payload &&
          (event.createdAt === null || event.createdAt === stored.created_at);
        if (!isSame) {
          return { refused: conflict(request, index) };
        }
        receipts.push({ position: stored.position, version: stored.version, duplicate: true });
        continue;
      }
      const version = (versions.get(event.accessId) ?? known.versions.get(event.accessId) ?? 0) + 1;
      const position = head + draft.rows.length + rows.length + 1;
      versions.set(event.accessId, version);
      const createdAt = event.createdAt ?? recordedAt;
      rows.push({ position, recordedAt, ...event, version, createdAt });
      if (name !== undefined) {
        named.set(name, { position, version, created_at: createdAt, payload: event.payload });
      }
      receipts.push({ position, version, duplicate: false });
    }
    const first = head + draft.rows.length + 1;
    draft.rows.push(...rows);
    for (const [accessId, version] of versions) {
      known.versions.set(accessId, version);
    }
    for (const [name, stored] of named) {
      fresh.set(name, stored);
    }
    if (key !== null) {
      const last = head + draft.rows.length;
      draft.batches.push([key.value, key.fingerprint, first, last]);
      batches.set(key.value, { fingerprint: key.fingerprint, first_position: first });
    }
    return { receipts };
  }

  /** The receipts of a batch that was appended before under its key: its new events stand in a row from `first`. */
  function repeated(request: AppendRequest, first: number): Receipt[] {
    let next = first;
    return request.events.map((event) => {
      const name = event.id === null ? undefined : nameOf(event.accessId, event.id);
      const byId = name === undefined ? undefined : (fresh.get(name) ?? known.events.get(name));
      const position = byId?.position ?? next;
      if (position === next) {
        next += 1;
      }
      const version =
        byId?.version ??
        known.events.get(String(position))?.version ??
        draft.rows[position - head - 1]?.version;
      return { position, version: version ?? 0, duplicate: true };
    });
  }
}
