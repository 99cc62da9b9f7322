/**
 * Reads the log from PostgreSQL: one short statement a page, so that a slow reader holds no transaction. The statement
 * itself bounds the bytes of a page, by sizes that PostgreSQL knows without reading the payloads.
 */
import type pg from 'pg';
import type { LogEvent } from '../../log/event.ts';
import type { Bounds, Page, PageLimit } from '../../log/store.ts';

interface EventRow {
  readonly position: number;
  readonly access_id: string;
  readonly version: number;
  readonly created_at: number;
  readonly recorded_at: number;
  readonly event_id: string | null;
  readonly payload: string;
}

interface PageRow extends EventRow {
  /** Number of events that the page would have without the limit of bytes. */
  readonly total: number;
  readonly pruned_position: number;
}

export interface PostgresReader {
  readLog(position: number, limit: PageLimit): Promise<LogEvent[]>;
  /** The events of these access_ids in a range of positions. */
  readLogOf(
    accessIds: readonly string[],
    range: PageLimit & { readonly after: number; readonly through: number },
  ): Promise<LogEvent[]>;
  /** `head` is a position that was committed before the statement begins. */
  readFeed(accessId: string, position: number, limit: PageLimit & { readonly head: number }): Promise<Page>;
  bounds(): Promise<Bounds>;
  lastPosition(accessId: string): Promise<number>;
  positionBefore(accessId: string, createdAt: number): Promise<number | undefined>;
  prunedThrough(accessId: string): Promise<number>;
}

const COLUMNS = 'position, access_id, version, created_at, recorded_at, event_id, payload';

/** In the unit of `eventBytes`: two bytes a character at worst. */
const sized = (source: string, bytes: string): string =>
  `select ${COLUMNS}, total, (select coalesce(max(pruned_position), 0) from feeds where access_id = sized.access_id) as pruned_position
   from (select page.*, count(*) over () as total,
           2 * sum(pg_column_size(payload)) over (order by position rows unbounded preceding)
             - 2 * pg_column_size(payload) as before
         from (${source}) as page) as sized
   where before < ${bytes} order by position`;

const FEED_PAGE = sized(
  'select * from events where access_id = $1 and position > $2 order by position limit $3',
  '$4',
);
const logPage = (condition: string): string => `select ${COLUMNS}
   from (select page.*,
           2 * sum(pg_column_size(payload)) over (order by position rows unbounded preceding)
             - 2 * pg_column_size(payload) as before
         from (select * from events where position > $1${condition} order by position limit $2) as page) as sized
   where before < $3 order by position`;

const LOG_PAGE = logPage('');
const LOG_PAGE_OF = logPage(' and position <= $4 and access_id = any($5)');

export function createPostgresReader(pool: pg.Pool): PostgresReader {
  async function prunedThrough(accessId: string): Promise<number> {
    const found = await pool.query<{ pruned_position: number }>(
      'select pruned_position from feeds where access_id = $1',
      [accessId],
    );
    return found.rows[0]?.pruned_position ?? 0;
  }

  return {
    prunedThrough,
    async readLog(position, limit) {
      const found = await pool.query<EventRow>(LOG_PAGE, [position, limit.maxEvents, limit.maxBytes]);
      return found.rows.map(eventOf);
    },
    async readLogOf(accessIds, { after, through, maxEvents, maxBytes }) {
      const values = [after, maxEvents, maxBytes, through, accessIds];
      const { rows } = await pool.query<EventRow>(LOG_PAGE_OF, values);
      return rows.map(eventOf);
    },
    async readFeed(accessId, position, limit) {
      const found = await pool.query<PageRow>(FEED_PAGE, [
        accessId,
        position,
        limit.maxEvents,
        limit.maxBytes,
      ]);
      const events = found.rows.map(eventOf);
      const last = found.rows.at(-1);
      const isCut = last !== undefined && (events.length < last.total || last.total >= limit.maxEvents);
      return {
        events,
        through: isCut ? last.position : Math.max(position, limit.head, last?.position ?? 0),
        prunedThrough: last === undefined ? await prunedThrough(accessId) : last.pruned_position,
      };
    },
    async bounds() {
      const found = await pool.query<Bounds>('select epoch, floor, head from log');
      const bounds = found.rows[0];
      if (bounds === undefined) {
        throw new Error('the table log has no row: the database is incomplete');
      }
      return bounds;
    },
    async lastPosition(accessId) {
      const found = await pool.query<{ position: number | null }>(
        `select coalesce(
           (select position from events where access_id = $1 order by position desc limit 1),
           (select position from feeds where access_id = $1)) as position`,
        [accessId],
      );
      return found.rows[0]?.position ?? 0;
    },
    async positionBefore(accessId, createdAt) {
      const found = await pool.query<{ position: number }>(
        'select position from events where access_id = $1 and created_at >= $2 order by position limit 1',
        [accessId, createdAt],
      );
      const first = found.rows[0]?.position;
      return first === undefined ? undefined : first - 1;
    },
  };
}

function eventOf(row: EventRow): LogEvent {
  return {
    position: row.position,
    accessId: row.access_id,
    version: row.version,
    createdAt: row.created_at,
    recordedAt: row.recorded_at,
    id: row.event_id,
    payload: row.payload,
  };
}
