import { Count, setting } from '../../settings.ts';

export const notifierSettings = {
  LASTSEEN_MAX_BATCH_EVENTS: setting('maxBatchEvents', 'Events of one pushed batch.', Count.default(10_000)),
  LASTSEEN_MAX_BATCH_BYTES: setting(
    'maxBatchBytes',
    'Bytes of the body of one push.',
    Count.default(8 * 1024 * 1024),
  ),
};
