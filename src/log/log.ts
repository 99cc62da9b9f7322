/**
 * The event core: append, read, subscribe, and the check of a cursor. It connects the writer to the generation
 * of the log that the store holds now. When the store turns out to hold another history, it ends the generation
 * and opens a new one, with retries until that succeeds.
 */
import { type Runtime, sleep, withTimeout } from '../runtime.ts';
import { cursorOf } from './cursor.ts';
import { type Generation, logReplaced, openGeneration } from './generation.ts';
import { mergeSubscriptions } from './merged-subscription.ts';
import type { Place } from './place.ts';
import { readPage, resolveStart, sharedPlace, type Start } from './start.ts';
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

  /** Reads from the history of now. If another one replaces it meanwhile, reads once more, from that one. */
  async function reading<T>(read: (history: History) => Promise<T>): Promise<T> {
    const history = await currentHistory();
    try {
      return await read(history);
    } catch (error) {
      if (replacing === undefined && generation.history === history) {
        throw error;
      }
      return read(await currentHistory());
    }
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
    resolve: (feeds, start) => reading((history) => resolveStart(history, listOf(feeds), start)),
    read: (accessId, after, limit) =>
      reading(async (history) => {
        // A place of an earlier generation is proven again.
        const { position } =
          after.lineage === history.lineage
            ? after
            : await resolveStart(history, [accessId], { after: cursorOf(after) });
        return readPage(history, { accessId, position, limit });
      }),
    subscribe,
    subscribeAll: (accessIds, after, onMore) => {
      const { tail } = generation;
      return mergeSubscriptions({
        subscriptions: accessIds.map((accessId) => subscribe(accessId, after, onMore)),
        start: after,
        head: () => tail.head.position,
      });
    },
    lastPlace: (feeds) => reading((history) => history.lastPlace(listOf(feeds))),
    sharedPlace: (accessId, place) => reading((history) => sharedPlace(history, accessId, place)),
    bounds: () => reading((history) => history.bounds()),
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

function listOf(feeds: Feeds): readonly string[] {
  return typeof feeds === 'string' ? [feeds] : feeds;
}

function addListener(listeners: Set<() => void>, listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
