/** Fills a file with events through the engine, and looks things up in it, in a process of its own. */
import Database from 'better-sqlite3';
import { openSqliteEngine } from '../../src/engines/sqlite/engine.ts';
import type { NewEvent } from '../../src/log/event.ts';
import { systemRuntime } from '../../src/system-runtime.ts';
import { percentile } from './stats.ts';
import { accessIdAt, payloadFor } from './workload.ts';

export type FillJob =
  /** `created_at` is the place in the file; every tenth event has the id `id-PLACE`. */
  | {
      readonly kind: 'fill';
      readonly path: string;
      readonly events: number;
      readonly accessIds: number;
      /** Feeds that get each `every`-th event. */
      readonly feeds: readonly Feed[];
    }
  | { readonly kind: 'look-up'; readonly path: string; readonly events: number; readonly accessIds: number };

export interface Feed {
  readonly accessId: string;
  readonly every: number;
}

/** Median milliseconds; of `fill`, seconds in `total`. */
export interface FillResult {
  readonly total: number;
  readonly firstPage: number;
  readonly byTime: number;
  readonly byId: number;
}

const GROUP_EVENTS = 10_000;
const LOOK_UPS = 200;
const PAGE = { maxEvents: 500, maxBytes: 4 * 1024 * 1024 };

async function fill(job: FillJob & { kind: 'fill' }): Promise<FillResult> {
  const { store } = await openSqliteEngine({ path: job.path, runtime: systemRuntime });
  const history = await store.open();
  const payload = payloadFor(accessIdAt(0, 1));
  const start = performance.now();
  for (let from = 0; from < job.events; from += GROUP_EVENTS) {
    const count = Math.min(GROUP_EVENTS, job.events - from);
    const events = Array.from({ length: count }, (_, at) => eventOf(from + at));
    const answer = await history.append([{ events, key: null }]);
    if ('pending' in answer || answer.outcomes.some((outcome) => 'refused' in outcome)) {
      throw new Error('refused');
    }
  }
  await store.close();
  return { total: (performance.now() - start) / 1_000, firstPage: 0, byTime: 0, byId: 0 };

  function eventOf(place: number): NewEvent {
    const accessId =
      job.feeds.find(({ every }, at) => place % every === at)?.accessId ?? accessIdAt(place, job.accessIds);
    return { accessId, createdAt: place, id: place % 10 === 7 ? `id-${place}` : null, payload };
  }
}

async function lookUp(job: FillJob & { kind: 'look-up' }): Promise<FillResult> {
  const { store } = await openSqliteEngine({ path: job.path, runtime: systemRuntime });
  const history = await store.open();
  const db = new Database(job.path, { readonly: true });
  const byId = db.prepare('select position, payload from events where access_id = ? and event_id = ?').raw();
  const tookMs: Record<'firstPage' | 'byTime' | 'byId', number[]> = { firstPage: [], byTime: [], byId: [] };
  for (let n = 0; n < LOOK_UPS; n += 1) {
    // Spread over the whole file, in no order.
    const place = (Math.floor((job.events / LOOK_UPS) * ((n * 77) % LOOK_UPS)) & ~15) + 7;
    const withId = place - (place % 10) + 7;
    const accessId = accessIdAt(place, job.accessIds);
    let from = performance.now();
    await history.readFeed(accessId, place, PAGE);
    tookMs.firstPage.push(performance.now() - from);
    from = performance.now();
    await history.firstSince(accessId, place);
    tookMs.byTime.push(performance.now() - from);
    from = performance.now();
    byId.get(accessIdAt(withId, job.accessIds), `id-${withId}`);
    tookMs.byId.push(performance.now() - from);
  }
  db.close();
  await store.close();
  return {
    total: 0,
    firstPage: percentile(tookMs.firstPage, 0.5),
    byTime: percentile(tookMs.byTime, 0.5),
    byId: percentile(tookMs.byId, 0.5),
  };
}

const job = JSON.parse(process.argv[2] ?? '') as FillJob;
process.send?.(await (job.kind === 'fill' ? fill(job) : lookUp(job)));
