/**
 * Positions and versions of the events of one commit, the same on both engines: what is new is numbered without holes
 * (G2), what repeats an id or a key gets the numbers it had (G5), what conflicts is refused whole (G4). Runs inside the
 * engine's transaction, one request after the other, and touches the log through `LogLookups` and `insert` only.
 */
import {
  type AppendColumns,
  columnsOf,
  emptyReceipts,
  type Part,
  type ReceiptColumns,
  type Refusal,
} from './group.ts';

export interface StoredEvent {
  readonly position: number;
  readonly tag: number;
  readonly version: number;
  readonly createdAt: number;
  readonly payload: string;
}

/** A batch that was appended under a key. */
export interface StoredBatch {
  readonly fingerprint: string;
  readonly firstPosition: number;
  /** Of the commit that appended it. */
  readonly tag: number;
}

/** What the log holds: what was committed before, and what this commit has inserted so far. */
export interface LogLookups {
  batch(key: string): StoredBatch | undefined;
  event(accessId: string, id: string): StoredEvent | undefined;
  /** Version of the event at this position, 0 if it was pruned. */
  versionAt(position: number): number;
  /** Version of the last event of `accessId` that was committed before, 0 if it never had one. */
  headVersion(accessId: string): number;
}

/** An event that has its numbers; `index` is its place in the columns. */
export interface NumberedEvent {
  readonly index: number;
  readonly position: number;
  readonly accessId: string;
  readonly version: number;
  readonly createdAt: number;
}

/** A commit that is being numbered. */
export interface Group {
  readonly columns: AppendColumns;
  /** Highest position before this commit. */
  readonly head: number;
  readonly recordedAt: number;
  /** Tag of every event that this commit appends. */
  readonly tag: number;
  /** Filled by `check` and `assign`. */
  readonly receipts: ReceiptColumns;
}

export interface NumberingOptions {
  readonly lookups: LogLookups;
  readonly insertEvent: (event: NumberedEvent, group: Group) => void;
  readonly insertBatch: (key: string, batch: StoredBatch & { readonly lastPosition: number }) => void;
}

/** Made once and used for one group after the other: made for each group it costs a fifth more processor time. */
export interface Numbering {
  begin(group: Group): void;
  /** Highest position that was assigned. */
  readonly head: number;
  /** Last version of each access_id that was numbered in this group. */
  readonly versions: ReadonlyMap<string, number>;
  /**
   * Compares a request with the log, before anything of it is written. A request that repeats a key has its receipts
   * then, and nothing more is to be done.
   */
  check(part: Part): Refusal | 'repeated' | Duplicates;
  /** Numbers and inserts the events that are new, and keeps the request's key. */
  assign(part: Part, duplicates: Duplicates): void;
}

/** The events of a request that are not new, by their place in the columns. */
export interface Duplicates {
  /** Events that the log has already. */
  readonly stored: ReadonlyMap<number, StoredEvent>;
  /** Events that stand twice in the request: the second to the first. */
  readonly twins: ReadonlyMap<number, number>;
}

/** Names an event among all that have an id: access_ids and ids may hold any character. */
export function eventName(accessId: string, id: string): string {
  return `${accessId.length}:${accessId}${id}`;
}

const NO_DUPLICATES: Duplicates = { stored: new Map(), twins: new Map() };

const NO_GROUP: Group = {
  columns: columnsOf([]),
  head: 0,
  recordedAt: 0,
  tag: 0,
  receipts: emptyReceipts(columnsOf([])),
};

export function createNumbering({ lookups, insertEvent, insertBatch }: NumberingOptions): Numbering {
  let group = NO_GROUP;
  let versions = new Map<string, number>();
  let head = 0;

  /** A repeated batch: its new events stand in a row from `first` on. */
  function repeat(part: Part, batch: StoredBatch): void {
    const { columns } = group;
    let next = batch.firstPosition;
    for (let index = part.start; index < part.end; index += 1) {
      const id = columns.ids[index] ?? null;
      const stored = id === null ? undefined : lookups.event(columns.accessIds[index] ?? '', id);
      const position = stored?.position ?? next;
      if (position === next) {
        next += 1;
      }
      const tag = stored?.tag ?? batch.tag;
      setReceipt(index, { position, tag, version: lookups.versionAt(position) });
    }
  }

  /** The receipt of an event that is not new. */
  function setReceipt(
    index: number,
    { position, tag, version }: Pick<StoredEvent, 'position' | 'tag' | 'version'>,
  ): void {
    const { receipts } = group;
    receipts.positions[index] = position;
    receipts.tags[index] = tag;
    receipts.versions[index] = version;
    receipts.isDuplicate[index] = 1;
  }

  function findDuplicates(part: Part): Duplicates | Refusal {
    const { columns } = group;
    let found: { stored: Map<number, StoredEvent>; twins: Map<number, number> } | undefined;
    const seen = new Map<string, number>();
    for (let index = part.start; index < part.end; index += 1) {
      const id = columns.ids[index] ?? null;
      if (id === null) {
        continue;
      }
      found ??= { stored: new Map(), twins: new Map() };
      const accessId = columns.accessIds[index] ?? '';
      const name = eventName(accessId, id);
      const twin = seen.get(name);
      if (twin !== undefined) {
        if (!isSame(index, columns.createdAts[twin] ?? null, columns.payloads[twin])) {
          return { conflict: { index: index - part.start } };
        }
        found.twins.set(index, twin);
        continue;
      }
      seen.set(name, index);
      const stored = lookups.event(accessId, id);
      if (stored === undefined) {
        continue;
      }
      if (!isSame(index, stored.createdAt, stored.payload)) {
        return { conflict: { index: index - part.start } };
      }
      found.stored.set(index, stored);
    }
    return found ?? NO_DUPLICATES;
  }

  function isSame(index: number, createdAt: number | null, payload: string | undefined): boolean {
    const { columns } = group;
    const sent = columns.createdAts[index] ?? null;
    return columns.payloads[index] === payload && (sent === null || createdAt === null || sent === createdAt);
  }

  return {
    begin(next) {
      group = next;
      versions = new Map();
      head = next.head;
    },
    get head() {
      return head;
    },
    get versions() {
      return versions;
    },
    check(part) {
      const { columns } = group;
      const key = columns.keys[part.request] ?? null;
      const batch = key === null ? undefined : lookups.batch(key.value);
      if (batch === undefined) {
        return findDuplicates(part);
      }
      if (batch.fingerprint !== key?.fingerprint) {
        return { conflict: { index: -1 } };
      }
      repeat(part, batch);
      return 'repeated';
    },
    assign(part, duplicates) {
      const { columns, recordedAt, receipts, tag } = group;
      const firstPosition = head + 1;
      for (let index = part.start; index < part.end; index += 1) {
        const stored = duplicates.stored.get(index);
        const twin = duplicates.twins.get(index);
        if (stored !== undefined) {
          setReceipt(index, stored);
        } else if (twin !== undefined) {
          setReceipt(index, {
            position: receipts.positions[twin] ?? 0,
            tag: receipts.tags[twin] ?? 0,
            version: receipts.versions[twin] ?? 0,
          });
        } else {
          const accessId = columns.accessIds[index] ?? '';
          const version = (versions.get(accessId) ?? lookups.headVersion(accessId)) + 1;
          const position = (head += 1);
          const createdAt = columns.createdAts[index] ?? recordedAt;
          insertEvent({ index, position, accessId, version, createdAt }, group);
          versions.set(accessId, version);
          receipts.positions[index] = position;
          receipts.tags[index] = tag;
          receipts.versions[index] = version;
        }
      }
      const key = columns.keys[part.request] ?? null;
      if (key !== null) {
        insertBatch(key.value, { fingerprint: key.fingerprint, firstPosition, lastPosition: head, tag });
      }
    },
  };
}
