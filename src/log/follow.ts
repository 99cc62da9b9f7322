/** Follows one feed inside the process: each new event once, in log order. */
import type { LogEvent } from './event.ts';
import type { Log } from './log.ts';

/** What to follow, and the handlers. */
export interface FollowOptions {
  readonly accessId: string;
  readonly onEvent: (event: LogEvent) => void;
  /** Receives a failed read and an error that `onEvent` throws. */
  readonly onFault: (error: unknown) => void;
}

/**
 * Calls `onEvent` for each event of `accessId` that is appended after this call.
 * When another log replaces this one, it follows the new log. Returns a function that stops it.
 */
export function followFeed(log: Log, { accessId, onEvent, onFault }: FollowOptions): () => void {
  let stop = follow();
  const stopReset = log.onReset(() => {
    stop();
    stop = follow();
  });

  function follow(): () => void {
    let isReading = false;
    let isWoken = false;
    const subscription = log.subscribe(accessId, log.head, () => {
      isWoken = true;
      if (!isReading) {
        void readAll();
      }
    });

    async function readAll(): Promise<void> {
      isReading = true;
      try {
        while (isWoken) {
          isWoken = false;
          for (
            let events = await subscription.next();
            events !== undefined;
            events = await subscription.next()
          ) {
            for (const event of events) {
              onEvent(event);
            }
          }
        }
      } catch (error) {
        onFault(error);
      } finally {
        isReading = false;
      }
    }

    return () => {
      subscription.close();
    };
  }

  return () => {
    stopReset();
    stop();
  };
}
