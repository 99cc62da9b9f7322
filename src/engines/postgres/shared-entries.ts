/**
 * Entries that each node shows the others: rows of its own under a version that it raises with every change, in one
 * transaction. A node that sees another version reads all rows of that node anew, in one statement, and compares: the
 * state is read, never joined from changes, so nothing can be missed and no order is needed. A node that has said nothing
 * for a while shows nothing any more.
 */
import type pg from 'pg';
import type { ShownEntry } from '../../peers.ts';
import type { Cancel, Runtime } from '../../runtime.ts';

/** Changes of so long go in one transaction. */
const FLUSH_MS = 50;

/** Pause after a look, and how many times as long as the look took: many entries are read less often. */
const LOOK_MS = 100;
const LOOK_FACTOR = 5;

const RETRY_MS = 1_000;

export interface Shown {
  show(key: string, value: string | undefined): void;
  onShown(listener: (changes: readonly ShownEntry[]) => void): void;
  /** Others may have changed something. */
  look(): void;
  stop(): void;
}

interface ShownRow {
  readonly node_id: string;
  readonly shown_version: string;
  readonly key: string | null;
  readonly value: string | null;
}

interface Other {
  readonly version: string;
  readonly entries: ReadonlyMap<string, string>;
}

export function createShown(options: {
  readonly pool: pg.Pool;
  readonly nodeId: string;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** A node that has said nothing for so long is gone. */
  readonly goneSeconds: number;
  readonly onError: (error: unknown) => void;
}): Shown {
  const { pool, nodeId, goneSeconds, onError } = options;
  const { clock, timers } = options.runtime;
  const listeners = new Set<(changes: readonly ShownEntry[]) => void>();
  let unwritten = new Map<string, string | undefined>();
  let others = new Map<string, Other>();
  let flushing: Cancel | undefined;
  let isFlushing = false;
  let looking: Cancel | undefined;
  let isLooking = false;
  let isWanted = false;
  let isStopped = false;

  function planFlush(ms: number): void {
    if (isStopped || isFlushing || unwritten.size === 0) {
      return;
    }
    flushing ??= timers.after(ms, () => void flush());
  }

  async function flush(): Promise<void> {
    flushing = undefined;
    isFlushing = true;
    const changes = unwritten;
    unwritten = new Map();
    let pause = FLUSH_MS;
    try {
      await write(changes);
    } catch (error) {
      // Newer changes of the same entries stay.
      unwritten = new Map([...changes, ...unwritten]);
      pause = RETRY_MS;
      if (!isStopped) {
        onError(error);
      }
    } finally {
      isFlushing = false;
      planFlush(pause);
    }
  }

  async function write(changes: ReadonlyMap<string, string | undefined>): Promise<void> {
    const set = [...changes].filter((change): change is [string, string] => change[1] !== undefined);
    const gone = [...changes].filter(([, value]) => value === undefined).map(([key]) => key);
    const client = await pool.connect();
    let failed = true;
    try {
      await client.query('begin');
      await client.query(
        `insert into nodes (node_id, seen_at, shown_version) values ($1, now(), 1)
         on conflict (node_id) do update set shown_version = nodes.shown_version + 1`,
        [nodeId],
      );
      if (gone.length > 0) {
        await client.query('delete from shown where node_id = $1 and key = any($2)', [nodeId, gone]);
      }
      if (set.length > 0) {
        await client.query(
          `insert into shown (node_id, key, value) select $1, * from unnest($2::text[], $3::text[])
           on conflict (node_id, key) do update set value = excluded.value`,
          [nodeId, set.map(([key]) => key), set.map(([, value]) => value)],
        );
      }
      await client.query('notify lastseen_ask');
      await client.query('commit');
      failed = false;
    } finally {
      client.release(failed);
    }
  }

  async function look(): Promise<void> {
    isWanted = true;
    if (isLooking || isStopped || listeners.size === 0) {
      return;
    }
    isLooking = true;
    isWanted = false;
    const startedAt = clock.steady();
    try {
      await compare();
    } catch (error) {
      if (!stopped()) {
        onError(error);
      }
    } finally {
      const pauseMs = Math.max(LOOK_MS, (clock.steady() - startedAt) * LOOK_FACTOR);
      looking = timers.after(pauseMs, () => {
        isLooking = false;
        if (wanted()) {
          void look();
        }
      });
    }
  }

  async function compare(): Promise<void> {
    const { rows: nodes } = await pool.query<{ node_id: string; shown_version: string }>(
      `select node_id, shown_version from nodes
       where node_id <> $1 and seen_at > now() - make_interval(secs => $2)`,
      [nodeId, goneSeconds],
    );
    const changed = nodes.filter((node) => others.get(node.node_id)?.version !== node.shown_version);
    const now = new Map(
      nodes.flatMap(({ node_id: id }) => {
        const known = others.get(id);
        return known === undefined ? [] : [[id, known] as const];
      }),
    );
    if (changed.length > 0) {
      for (const [id, other] of await read(changed.map((node) => node.node_id))) {
        now.set(id, other);
      }
    }
    if (stopped()) {
      return;
    }
    const changes = differences(entriesOf(others), entriesOf(now));
    others = now;
    if (changes.length > 0) {
      for (const listener of listeners) {
        listener(changes);
      }
    }
  }

  async function read(nodeIds: readonly string[]): Promise<Map<string, Other>> {
    const { rows } = await pool.query<ShownRow>(
      `select node_id, shown_version, key, value from nodes left join shown using (node_id)
       where node_id = any($1)`,
      [nodeIds],
    );
    const found = new Map<string, { version: string; entries: Map<string, string> }>();
    for (const row of rows) {
      const other = found.get(row.node_id) ?? { version: row.shown_version, entries: new Map() };
      if (row.key !== null) {
        other.entries.set(row.key, row.value ?? '');
      }
      found.set(row.node_id, other);
    }
    return found;
  }

  const stopped = (): boolean => isStopped;
  const wanted = (): boolean => isWanted;

  return {
    show(key, value) {
      unwritten.set(key, value);
      planFlush(FLUSH_MS);
    },
    onShown(listener) {
      listeners.add(listener);
      void look();
    },
    look() {
      void look();
    },
    stop() {
      isStopped = true;
      flushing?.();
      looking?.();
    },
  };
}

function entriesOf(others: ReadonlyMap<string, Other>): Map<string, string> {
  return new Map([...others.values()].flatMap(({ entries }) => [...entries]));
}

function differences(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): ShownEntry[] {
  const gone = [...before.keys()].filter((key) => !after.has(key));
  const set = [...after].filter(([key, value]) => before.get(key) !== value);
  return [...gone.map((key) => ({ key, value: undefined })), ...set.map(([key, value]) => ({ key, value }))];
}
