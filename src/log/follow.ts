/**
 * Follows one feed inside the process: each new event once, in log order. When another history replaces the log,
 * it continues from the last place that both have in common, so that a control event is read again rather than
 * missed (G10).
 */
import { LastseenError } from '../errors.ts';
import { sleep, type Timers } from '../runtime.ts';
import type { LogEvent } from './event.ts';
import type { Log } from './log.ts';
import type { Place } from './place.ts';
import type { Subscription } from './subscription.ts';

/** Pause before a failed read is repeated. */
const RETRY_MS = 250;

/** What to follow, and the handlers. */
export interface FollowOptions {
  readonly accessId: string;
  readonly timers: Timers;
  readonly onEvent: (event: LogEvent) => void;
  /** Receives the first of consecutive failures to read, and an error that `onEvent` throws. */
  readonly onFault: (error: unknown) => void;
}

/** Calls `onEvent` for each event of `accessId` that is appended after this call. Returns a function that stops it. */
export function followFeed(log: Log, { accessId, timers, onEvent, onFault }: FollowOptions): () => void {
  const stopping = new AbortController();
  /** After the last event that `onEvent` has received. */
  let place: Place = log.head;
  let subscription: Subscription | undefined;
  let isReading = false;
  let isWoken = true;
  let hasFailed = false;

  const wake = (): void => {
    isWoken = true;
    if (!isReading) {
      void readAll();
    }
  };
  const stopReplaced = log.onReplaced(() => {
    subscription?.close();
    subscription = undefined;
    wake();
  });

  async function readAll(): Promise<void> {
    isReading = true;
    while (isWoken && !stopping.signal.aborted) {
      isWoken = false;
      try {
        await readNext(subscription ?? (await open()));
        hasFailed = false;
      } catch (error) {
        await recover(error);
      }
    }
    isReading = false;
  }

  async function open(): Promise<Subscription> {
    place = await log.sharedPlace(accessId, place);
    return (subscription = log.subscribe(accessId, place, wake));
  }

  async function readNext(source: Subscription): Promise<void> {
    for (let events = await source.next(); events !== undefined; events = await source.next()) {
      for (const event of events) {
        place = event;
        try {
          onEvent(event);
        } catch (error) {
          onFault(error);
        }
      }
    }
  }

  async function recover(error: unknown): Promise<void> {
    if (!hasFailed) {
      onFault(error);
    }
    hasFailed = true;
    subscription?.close();
    subscription = undefined;
    await sleep(timers, RETRY_MS, stopping.signal);
    isWoken = true;
    if (error instanceof LastseenError && error.code === 'ERR_CURSOR_TOO_OLD') {
      place = await log.resolve(accessId, { after: 'start' }).catch(() => place);
    }
  }

  subscription = log.subscribe(accessId, place, wake);
  wake();
  return () => {
    stopping.abort();
    stopReplaced();
    subscription?.close();
  };
}
