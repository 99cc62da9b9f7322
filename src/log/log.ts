/**
 * The event core: append, read, subscribe, and the check of a cursor. It connects the writer to the generation
 * of the log that the store holds now. When the store turns out to hold another history, it ends the generation
 * and opens a new one, with retries until that succeeds.
 */
import type { CommonGround } from '../errors.ts';
import { type Runtime, sleep, withTimeout } from '../runtime.ts';
import {
  commonEnd,
  type Cursor,
  type CursorFacts,
  cursorOf,
  judgeCursor,
  malformedCursor,
  MAX_TRAIL,
  parseCursor,
  refusedCursor,
  tooOldError,
} from './cursor.ts';
import { type Generation, logReplaced, openGeneration } from './generation.ts';
import { mergeSubscriptions } from './merged-subscription.ts';
import { laterOf, type Place } from './place.ts';
import type {
  AppendRequest,
  Bounds,
  EventStore,
  History,
  Page,
  PageLimit,
  PruneRule,
  Receipt,
} from './store.ts';
import { createSubscription, type Subscription } from './subscription.ts';
import type { TailLimits } from './tail.ts';
import { createWriter, type WriterCounts, type WriterLimits } from './writer.ts';

/** The start of a reader: after a cursor, at one end of the log, or at a publisher's time. */
export type Start =
  | {
      /** A cursor, `"start"` or `"now"`. */
      readonly after: string;
      /** Older cursors of the reader. If the log refuses `after`, it names the newest of them that it accepts. */
      readonly trail?: readonly string[];
    }
  | { readonly createdAt: number };

/** One access_id, or several. */
export type Feeds = string | readonly string[];

/** The log of one process. */
export interface Log {
  /** Appends a batch atomically. Resolves after the batch is on disk (G1, G4). */
  append(request: AppendRequest): Promise<readonly Receipt[]>;
  /**
   * Returns the place after which a reader of these feeds starts. A time resolves to the place before the first
   * event with an equal or later `created_at`. The place is always one of these feeds' own.
   * @throws ERR_CURSOR_…
   */
  resolve(feeds: Feeds, start: Start): Promise<Place>;
  /**
   * Reads one page after a place.
   * @throws ERR_CURSOR_TOO_OLD if retention has deleted events after it, ERR_CURSOR_DIVERGED if the place
   *   belongs to a history that the log no longer has
   */
  read(accessId: string, after: Place, limit: PageLimit): Promise<Page>;
  /**
   * Reads pages, then live events. Calls `onMore` when `next()` has events again.
   * @throws ERR_LOG_REPLACED if the place belongs to an earlier generation
   */
  subscribe(accessId: string, after: Place, onMore: () => void): Subscription;
  /** Subscribes to several access_ids, in log order. Throws as `subscribe` does. */
  subscribeAll(accessIds: readonly string[], after: Place, onMore: () => void): Subscription;
  /** Place of the last event of these feeds; the last deleted one if no event is left, the origin if none was. */
  lastPlace(feeds: Feeds): Promise<Place>;
  /**
   * Returns the last place that a reader inside this process and the log have in common: the reader's own place,
   * where the two histories part, or the start of the retained feed.
   */
  sharedPlace(accessId: string, place: Place): Promise<Place>;
  bounds(): Promise<Bounds>;
  /** Deletes the events that the rule selects. Returns the number of deleted events. */
  prune(rule: PruneRule, signal?: AbortSignal): Promise<number>;
  /**
   * Calls `listener` when the store turns out to hold another history: the caller must disconnect every reader.
   * Returns a function that stops it.
   */
  onEnd(listener: () => void): () => void;
  /** Calls `listener` when the next generation is open. Returns a function that stops it. */
  onReplaced(listener: () => void): () => void;
  /** The last event that this process knows to be committed. */
  readonly head: Place;
  readonly queuedEvents: number;
  readonly counts: WriterCounts;
  /** Rejects new appends, and resolves after the accepted ones are answered. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** The store and the limits of a log. */
export interface LogOptions {
  /** The log owns the store: it closes the store, even if opening the log fails. */
  readonly store: EventStore;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** Receives failures of background work. */
  readonly onError?: (error: unknown) => void;
  /** Receives the duration of each commit. */
  readonly onCommitDuration?: (ms: number) => void;
  readonly writer?: WriterLimits;
  readonly tail?: TailLimits;
}

/** Pause between attempts to open the next generation. */
const REOPEN_PAUSE_MS = 200;

/** A request waits for the next generation at most for this time. */
const MAX_REOPEN_WAIT_MS = 2_000;

/** Opens the log on a store. */
export async function createLog(options: LogOptions): Promise<Log> {
  const { store, runtime, onError = () => undefined } = options;
  const endListeners = new Set<() => void>();
  const replacedListeners = new Set<() => void>();
  const closing = new AbortController();
  let generation = await openFirst();
  /** Set while the next generation is being opened. */
  let replacing: Promise<void> | undefined;

  const writer = createWriter({
    store: { append: async (requests) => (await currentHistory()).append(requests) },
    runtime,
    onCommitted: (events) => {
      // A commit of an earlier generation can be confirmed late.
      if (events[0]?.lineage === generation.history.lineage) {
        generation.tail.offer(events);
      }
    },
    ...(options.writer === undefined ? {} : { limits: options.writer }),
    ...(options.onCommitDuration === undefined ? {} : { onDuration: options.onCommitDuration }),
  });

  async function openFirst(): Promise<Generation> {
    try {
      return await openNext();
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  function openNext(): Promise<Generation> {
    return openGeneration({
      store,
      onError,
      onEnd: () => {
        replacing ??= replace();
      },
      ...(options.tail === undefined ? {} : { tailLimits: options.tail }),
    });
  }

  /** Ends the generation at once, and opens the next one. Until it is open, requests are refused. */
  async function replace(): Promise<void> {
    const ended = generation;
    ended.end();
    notify(endListeners);
    await ended.close().catch(onError);
    while (!closing.signal.aborted) {
      try {
        generation = await openNext();
        break;
      } catch (error) {
        onError(error);
        await sleep(runtime.timers, REOPEN_PAUSE_MS, closing.signal);
      }
    }
    replacing = undefined;
    if (!closing.signal.aborted) {
      notify(replacedListeners);
    }
  }

  function notify(listeners: ReadonlySet<() => void>): void {
    for (const listener of [...listeners]) {
      listener();
    }
  }

  /** @throws ERR_LOG_REPLACED if the next generation is not open within 2 s */
  async function currentHistory(): Promise<History> {
    if (replacing !== undefined) {
      const { timers } = runtime;
      await withTimeout(replacing, { timers, ms: MAX_REOPEN_WAIT_MS, onTimeout: logReplaced });
    }
    generation.requireCurrent();
    return generation.history;
  }

  async function resolve(feeds: Feeds, start: Start): Promise<Place> {
    const history = await currentHistory();
    const accessIds = listOf(feeds);
    if ('createdAt' in start) {
      return placeBefore(history, accessIds, start.createdAt);
    }
    if (start.after === 'start') {
      return history.prunedThrough(accessIds);
    }
    if (start.after === 'now') {
      return history.lastPlace(accessIds);
    }
    const cursor = parseCursor(start.after);
    if (cursor === undefined) {
      throw malformedCursor(start.after, await history.prunedThrough(accessIds));
    }
    const facts = await history.cursorFacts(accessIds, cursor);
    const judgement = judgeCursor(cursor, facts);
    if (judgement.verdict === 'held') {
      return judgement.place;
    }
    const common =
      judgement.verdict === 'diverged'
        ? await commonGround(history, accessIds, { cursor, facts, trail: start.trail ?? [] })
        : undefined;
    throw refusedCursor(judgement.verdict, await history.prunedThrough(accessIds), common);
  }

  function subscribe(accessId: string, after: Place, onMore: () => void): Subscription {
    const { history, tail, requireCurrent, requireOwn } = generation;
    requireOwn(after);
    return createSubscription({
      read: (name, position, limit) => readPage(history, { accessId: name, position, limit }),
      tail,
      requireCurrent,
      accessId,
      start: after,
      onMore,
    });
  }

  return {
    append: writer.append,
    resolve,
    async read(accessId, after, limit) {
      const history = await currentHistory();
      // A place of an earlier generation is proven again.
      const { position } =
        after.lineage === history.lineage ? after : await resolve(accessId, { after: cursorOf(after) });
      return readPage(history, { accessId, position, limit });
    },
    subscribe,
    subscribeAll: (accessIds, after, onMore) => {
      const { tail } = generation;
      return mergeSubscriptions({
        subscriptions: accessIds.map((accessId) => subscribe(accessId, after, onMore)),
        start: after,
        head: () => tail.head.position,
      });
    },
    lastPlace: async (feeds) => (await currentHistory()).lastPlace(listOf(feeds)),
    async sharedPlace(accessId, place) {
      const history = await currentHistory();
      if (place.lineage === history.lineage) {
        return place;
      }
      const cursor = parseCursor(cursorOf(place));
      const facts = cursor && (await history.cursorFacts([accessId], cursor));
      const judgement = cursor && facts && judgeCursor(cursor, facts);
      if (judgement?.verdict === 'held') {
        return judgement.place;
      }
      const end = cursor && facts && commonEnd(cursor, facts);
      return end === undefined
        ? history.prunedThrough([accessId])
        : laterOf(await history.lastPlace([accessId], end), await history.prunedThrough([accessId]));
    },
    bounds: async () => (await currentHistory()).bounds(),
    prune: async (rule, signal) => (await currentHistory()).prune(rule, signal),
    onEnd: (listener) => addListener(endListeners, listener),
    onReplaced: (listener) => addListener(replacedListeners, listener),
    get head() {
      return generation.tail.head;
    },
    get queuedEvents() {
      return writer.queuedEvents;
    },
    counts: writer.counts,
    drain: () => writer.drain(),
    async close() {
      await writer.drain();
      closing.abort();
      await replacing;
      generation.end();
      await generation.close();
      await store.close();
    },
  };
}

/** If retention has deleted events that a reader has not received, the reader gets an error and not a gap (G6). */
async function readPage(
  history: History,
  { accessId, position, limit }: { accessId: string; position: number; limit: PageLimit },
): Promise<Page> {
  const page = await history.readFeed(accessId, position, limit);
  if (page.pruned.position > position) {
    throw tooOldError(page.pruned);
  }
  return page;
}

async function placeBefore(
  history: History,
  accessIds: readonly string[],
  createdAt: number,
): Promise<Place> {
  // The end of the log is read first: later events come after the start.
  const { head } = await history.bounds();
  const firsts = await Promise.all(accessIds.map((accessId) => history.firstSince(accessId, createdAt)));
  const first = Math.min(head + 1, ...firsts.map((position) => position ?? Infinity));
  return history.lastPlace(accessIds, first - 1);
}

/** Finds the last place that a refused cursor and the log have in common: by its term, else by the reader's trail. */
async function commonGround(
  history: History,
  accessIds: readonly string[],
  refused: { readonly cursor: Cursor; readonly facts: CursorFacts; readonly trail: readonly string[] },
): Promise<CommonGround | undefined> {
  const end = commonEnd(refused.cursor, refused.facts);
  if (end !== undefined) {
    const place = await history.lastPlace(accessIds, end);
    if (place.position <= end) {
      return { cursor: cursorOf(place), by: 'term' };
    }
  }
  let newest: Place | undefined;
  for (const text of refused.trail.slice(0, MAX_TRAIL)) {
    const cursor = parseCursor(text);
    const judgement = cursor && judgeCursor(cursor, await history.cursorFacts(accessIds, cursor));
    if (judgement?.verdict === 'held') {
      newest = newest === undefined ? judgement.place : laterOf(newest, judgement.place);
    }
  }
  return newest && { cursor: cursorOf(newest), by: 'trail' };
}

function listOf(feeds: Feeds): readonly string[] {
  return typeof feeds === 'string' ? [feeds] : feeds;
}

function addListener(listeners: Set<() => void>, listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
