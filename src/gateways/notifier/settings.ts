import { Count, setting } from '../../settings.ts';

/** Settings of the notifier. */
export const notifierSettings = {
  LASTSEEN_MAX_BATCH_EVENTS: setting('maxBatchEvents', 'events in a push', Count.default(10_000)),
  LASTSEEN_MAX_BATCH_BYTES: setting('maxBatchBytes', 'bytes of a push', Count.default(8 * 1024 * 1024)),
};
