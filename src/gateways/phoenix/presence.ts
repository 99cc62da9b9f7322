/**
 * Tracks the clients of each topic on all nodes. Each process keeps all entries in memory, shares its own
 * entries with the others, and receives theirs. When a node dies, its entries disappear. Changes are
 * collected for 20 ms and sent as one diff for each topic.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Peers } from '../../peers.ts';
import type { Cancel, Random, Runtime } from '../../runtime.ts';

/** The metadata of an entry. */
export type Meta = Readonly<Record<string, unknown>>;

/** Presence of all topics. */
export interface Presence {
  /** Adds an entry, and returns its `phx_ref`. */
  track(topic: string, key: string, meta: Meta): string;
  /** Replaces the metadata of an entry, and returns its new `phx_ref`. */
  update(ref: string, meta: Meta): string;
  /** Removes an entry. */
  untrack(ref: string): void;
  /** Returns the `presence_state` of a topic as JSON text. */
  state(topic: string): string;
  stop(): void;
}

const Entry = z.object({ topic: z.string(), key: z.string(), meta: z.record(z.string(), z.unknown()) });

type Entry = z.infer<typeof Entry>;

type Entries = Map<string, Entry>;

const DIFF_DELAY_MS = 20;

/** Returns the public key of a subject: a hash, because the id can be a credential. */
export function presenceKey(subject: string): string {
  return createHash('sha256').update(`lastseen presence ${subject}`).digest('base64url').slice(0, 22);
}

/** The peers and the listener of presence. */
export interface PresenceOptions {
  readonly peers: Peers;
  readonly runtime: Pick<Runtime, 'timers' | 'random'>;
  /** Receives the `presence_diff` of a topic as JSON text. */
  readonly onDiff: (topic: string, diff: string) => void;
}

/** Creates presence without entries. */
export function createPresence({ peers, runtime, onDiff }: PresenceOptions): Presence {
  const topics = new Map<string, Entries>();
  const entries: Entries = new Map();
  const joins: Entries = new Map();
  const leaves: Entries = new Map();
  let cancelDiffs: Cancel | undefined;

  function add(ref: string, entry: Entry): void {
    entries.set(ref, entry);
    const topicEntries = topics.get(entry.topic);
    if (topicEntries === undefined) {
      topics.set(entry.topic, new Map([[ref, entry]]));
    } else {
      topicEntries.set(ref, entry);
    }
    joins.set(ref, entry);
    cancelDiffs ??= runtime.timers.after(DIFF_DELAY_MS, sendDiffs);
  }

  function remove(ref: string): void {
    const entry = entries.get(ref);
    if (entry === undefined) {
      return;
    }
    entries.delete(ref);
    const topicEntries = topics.get(entry.topic);
    topicEntries?.delete(ref);
    if (topicEntries?.size === 0) {
      topics.delete(entry.topic);
    }
    // A leave is sent even if the join was not: a `presence_state` may have contained the entry.
    joins.delete(ref);
    leaves.set(ref, entry);
    cancelDiffs ??= runtime.timers.after(DIFF_DELAY_MS, sendDiffs);
  }

  function sendDiffs(): void {
    cancelDiffs = undefined;
    const changed = new Set([...joins.values(), ...leaves.values()].map((entry) => entry.topic));
    const diffs = [...changed].map((topic) => {
      const onTopic = (source: Entries): Entries =>
        new Map([...source].filter(([, entry]) => entry.topic === topic));
      const diff = `{"joins":${stateJson(onTopic(joins))},"leaves":${stateJson(onTopic(leaves))}}`;
      return [topic, diff] as const;
    });
    joins.clear();
    leaves.clear();
    for (const [topic, diff] of diffs) {
      onDiff(topic, diff);
    }
  }

  function share(ref: string, entry: Entry): void {
    add(ref, entry);
    peers.share(ref, JSON.stringify(entry));
  }

  function untrack(ref: string): void {
    remove(ref);
    peers.share(ref, undefined);
  }

  peers.onShared((changes) => {
    for (const { key: ref, value } of changes) {
      const parsed = value === undefined ? undefined : Entry.safeParse(JSON.parse(value));
      if (parsed?.success === true) {
        add(ref, parsed.data);
      } else {
        remove(ref);
      }
    }
  });

  return {
    track(topic, key, meta) {
      const ref = newRef(runtime.random);
      share(ref, { topic, key, meta });
      return ref;
    },
    update(ref, meta) {
      const previous = entries.get(ref);
      if (previous === undefined) {
        return ref;
      }
      const next = newRef(runtime.random);
      untrack(ref);
      share(next, { ...previous, meta: { ...meta, phx_ref_prev: ref } });
      return next;
    },
    untrack,
    state: (topic) => stateJson(topics.get(topic) ?? new Map<string, Entry>()),
    stop() {
      cancelDiffs?.();
    },
  };
}

/** `{KEY:{"metas":[…]}}` */
function stateJson(entries: Entries): string {
  const metas = new Map<string, Meta[]>();
  for (const [ref, { key, meta }] of entries) {
    metas.set(key, [...(metas.get(key) ?? []), { ...meta, phx_ref: ref }]);
  }
  return JSON.stringify(Object.fromEntries([...metas].map(([key, list]) => [key, { metas: list }])));
}

function newRef(random: Random): string {
  return Buffer.from(random.bytes(12)).toString('base64url');
}
