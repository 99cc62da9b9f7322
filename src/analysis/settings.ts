import { Count, setting } from '../settings.ts';

export const querySettings = {
  LASTSEEN_QUERY_TIMEOUT_MS: setting(
    'queryTimeoutMs',
    'a query that runs longer is stopped',
    Count.max(3_600_000).default(30_000),
  ),
  LASTSEEN_QUERY_CONCURRENCY: setting(
    'queryConcurrency',
    'queries at once; another query gets 503',
    Count.max(64).default(2),
  ),
  LASTSEEN_QUERY_MAX_ROWS: setting(
    'queryMaxRows',
    'rows of an answer; the answer ends there and says so',
    Count.default(100_000),
  ),
  LASTSEEN_QUERY_MAX_BYTES: setting(
    'queryMaxBytes',
    'bytes of an answer; the answer ends there and says so',
    Count.max(268_435_456).default(16 * 1024 * 1024),
  ),
  LASTSEEN_QUERY_MEMORY_BYTES: setting(
    'queryMemoryBytes',
    'memory of a query, in addition to what its process needs at its start (Linux only; on PostgreSQL it does not limit the database server)',
    Count.min(134_217_728).default(512 * 1024 * 1024),
  ),
};
