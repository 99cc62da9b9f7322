import { Count, setting } from '../settings.ts';

export const querySettings = {
  LASTSEEN_QUERY_TIMEOUT_MS: setting(
    'queryTimeoutMs',
    'Milliseconds that a query may run.',
    Count.max(3_600_000).default(30_000),
  ),
  LASTSEEN_QUERY_CONCURRENCY: setting(
    'queryConcurrency',
    'Queries that run at once; the server refuses the next one.',
    Count.max(64).default(2),
  ),
  LASTSEEN_QUERY_MAX_ROWS: setting('queryMaxRows', 'Rows of one answer.', Count.default(100_000)),
  LASTSEEN_QUERY_MAX_BYTES: setting(
    'queryMaxBytes',
    'Bytes of one answer.',
    Count.max(268_435_456).default(16 * 1024 * 1024),
  ),
  LASTSEEN_QUERY_MEMORY_BYTES: setting(
    'queryMemoryBytes',
    'Memory that a query may take (Linux, SQLite).',
    Count.min(134_217_728).default(512 * 1024 * 1024),
  ),
};
