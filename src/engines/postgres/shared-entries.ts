/**
 * Entries that each node shares with the others: rows of its own in `shown`, under a version that it raises with every
 * change, in one transaction. A node that finds another version reads all rows of that node again, in one statement, and
 * compares. It reads states and never adds up changes, so it cannot miss one, and their order does not matter. The
 * entries of a node that has died are withdrawn.
 */
import type pg from 'pg';
import type { SharedEntry } from '../../peers.ts';
import type { Cancel, Runtime } from '../../runtime.ts';

/** Changes within this time go into one transaction. */
const FLUSH_MS = 50;

/** Shortest pause after a refresh, and its length as a multiple of the refresh: many entries are read less often. */
const REFRESH_MS = 100;
const REFRESH_FACTOR = 5;

const RETRY_MS = 1_000;

export interface SharedEntries {
  share(key: string, value: string | undefined): void;
  onShared(listener: (changes: readonly SharedEntry[]) => void): void;
  /** Reads what others share, now or after the current pause. */
  refresh(): void;
  /** Writes all entries of this node anew: another server answers, which may lack the last of them. */
  shareAgain(): void;
  stop(): void;
}

export interface SharedEntriesOptions {
  readonly pool: pg.Pool;
  readonly nodeId: string;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** A node counts as dead when its row in `nodes` is older. */
  readonly expireAfterSeconds: number;
  readonly onError: (error: unknown) => void;
}

interface SharedRow {
  readonly node_id: string;
  readonly shown_version: string;
  readonly key: string | null;
  readonly value: string | null;
}

interface NodeEntries {
  readonly version: string;
  readonly entries: ReadonlyMap<string, string>;
}

export function createSharedEntries(options: SharedEntriesOptions): SharedEntries {
  const { pool, nodeId, expireAfterSeconds, onError } = options;
  const { clock, timers } = options.runtime;
  const listeners = new Set<(changes: readonly SharedEntry[]) => void>();
  const stopping = new AbortController();
  const isStopped = (): boolean => stopping.signal.aborted;
  let unwritten = new Map<string, string | undefined>();
  /** What this node shares. */
  const own = new Map<string, string>();
  let hasShared = false;
  let isRewriting = false;
  /** The highest version that this node has written: one that was lost is not used again for other entries. */
  let version = 0;
  let others: ReadonlyMap<string, NodeEntries> = new Map();
  let cancelFlush: Cancel | undefined;
  let isFlushing = false;
  let cancelRefresh: Cancel | undefined;
  let isRefreshing = false;
  let isRefreshWanted = false;

  function planFlush(ms: number): void {
    if (isStopped() || isFlushing || (unwritten.size === 0 && !isRewriting)) {
      return;
    }
    cancelFlush ??= timers.after(ms, () => void flush());
  }

  async function flush(): Promise<void> {
    cancelFlush = undefined;
    isFlushing = true;
    const isWhole = isRewriting;
    const changes = isWhole ? new Map(own) : unwritten;
    unwritten = new Map();
    isRewriting = false;
    let pauseMs = FLUSH_MS;
    try {
      await write(changes, { isWhole });
    } catch (error) {
      // Newer changes of the same entries replace these.
      unwritten = new Map([...changes, ...unwritten]);
      isRewriting ||= isWhole;
      pauseMs = RETRY_MS;
      if (!isStopped()) {
        onError(error);
      }
    } finally {
      isFlushing = false;
      planFlush(pauseMs);
    }
  }

  /** `isWhole`: the changes are all entries of this node, and others of it are stale. */
  async function write(
    changes: ReadonlyMap<string, string | undefined>,
    { isWhole }: { readonly isWhole: boolean },
  ): Promise<void> {
    const shared = [...changes].filter((change): change is [string, string] => change[1] !== undefined);
    const withdrawn = [...changes].filter(([, value]) => value === undefined).map(([key]) => key);
    const client = await pool.connect();
    let hasFailed = true;
    try {
      await client.query('begin');
      const { rows } = await client.query<{ shown_version: string }>(
        `insert into nodes (node_id, seen_at, shown_version) values ($1, now(), $2::bigint + 1)
         on conflict (node_id) do update set shown_version = greatest(nodes.shown_version, $2::bigint) + 1
         returning shown_version`,
        [nodeId, version],
      );
      version = Number(rows[0]?.shown_version);
      if (isWhole) {
        await client.query('delete from shown where node_id = $1', [nodeId]);
      }
      if (withdrawn.length > 0) {
        await client.query('delete from shown where node_id = $1 and key = any($2)', [nodeId, withdrawn]);
      }
      if (shared.length > 0) {
        await client.query(
          `insert into shown (node_id, key, value) select $1, * from unnest($2::text[], $3::text[])
           on conflict (node_id, key) do update set value = excluded.value`,
          [nodeId, shared.map(([key]) => key), shared.map(([, value]) => value)],
        );
      }
      await client.query('notify lastseen_ask');
      await client.query('commit');
      hasFailed = false;
    } finally {
      client.release(hasFailed);
    }
  }

  async function refresh(): Promise<void> {
    isRefreshWanted = true;
    if (isRefreshing || isStopped() || listeners.size === 0) {
      return;
    }
    isRefreshing = true;
    isRefreshWanted = false;
    const startedAt = clock.steady();
    try {
      await readChanges();
    } catch (error) {
      if (!isStopped()) {
        onError(error);
      }
    } finally {
      const pauseMs = Math.max(REFRESH_MS, (clock.steady() - startedAt) * REFRESH_FACTOR);
      cancelRefresh = timers.after(pauseMs, onPauseOver);
    }
  }

  function onPauseOver(): void {
    isRefreshing = false;
    if (isRefreshWanted) {
      void refresh();
    }
  }

  async function readChanges(): Promise<void> {
    const { rows: nodes } = await pool.query<{ node_id: string; shown_version: string }>(
      `select node_id, shown_version from nodes
       where node_id <> $1 and seen_at > now() - make_interval(secs => $2)`,
      [nodeId, expireAfterSeconds],
    );
    const current = new Map<string, NodeEntries>();
    const changedIds: string[] = [];
    for (const { node_id: id, shown_version: version } of nodes) {
      const known = others.get(id);
      if (known !== undefined) {
        current.set(id, known);
      }
      if (known?.version !== version) {
        changedIds.push(id);
      }
    }
    if (changedIds.length > 0) {
      for (const [id, entries] of await readNodes(changedIds)) {
        current.set(id, entries);
      }
    }
    if (isStopped()) {
      return;
    }
    const changes = differences(entriesOf(others), entriesOf(current));
    others = current;
    if (changes.length > 0) {
      for (const listener of listeners) {
        listener(changes);
      }
    }
  }

  async function readNodes(nodeIds: readonly string[]): Promise<Map<string, NodeEntries>> {
    const { rows } = await pool.query<SharedRow>(
      `select node_id, shown_version, key, value from nodes left join shown using (node_id)
       where node_id = any($1)`,
      [nodeIds],
    );
    const nodes = new Map<string, { version: string; entries: Map<string, string> }>();
    for (const row of rows) {
      const node = nodes.get(row.node_id) ?? { version: row.shown_version, entries: new Map() };
      if (row.key !== null) {
        node.entries.set(row.key, row.value ?? '');
      }
      nodes.set(row.node_id, node);
    }
    return nodes;
  }

  return {
    share(key, value) {
      unwritten.set(key, value);
      hasShared = true;
      if (value === undefined) {
        own.delete(key);
      } else {
        own.set(key, value);
      }
      planFlush(FLUSH_MS);
    },
    onShared(listener) {
      listeners.add(listener);
      void refresh();
    },
    refresh() {
      void refresh();
    },
    shareAgain() {
      isRewriting = hasShared;
      planFlush(FLUSH_MS);
    },
    stop() {
      stopping.abort();
      cancelFlush?.();
      cancelRefresh?.();
    },
  };
}

function entriesOf(nodes: ReadonlyMap<string, NodeEntries>): Map<string, string> {
  return new Map([...nodes.values()].flatMap(({ entries }) => [...entries]));
}

function differences(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): SharedEntry[] {
  const withdrawn = [...before.keys()].filter((key) => !after.has(key));
  const shared = [...after].filter(([key, value]) => before.get(key) !== value);
  return [
    ...withdrawn.map((key) => ({ key, value: undefined })),
    ...shared.map(([key, value]) => ({ key, value })),
  ];
}
