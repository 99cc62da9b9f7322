/** Following a feed inside the process: each event once, in order, from now on. */
import type { Event } from './event.ts';
import type { Log } from './log.ts';

/** Calls `take` for each later event of `accessId`, also of a log that replaces this one. Returns how to stop. */
export function followFeed(
  log: Log,
  accessId: string,
  take: (event: Event) => void,
  onFault: (error: unknown) => void,
): () => void {
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
              take(event);
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
