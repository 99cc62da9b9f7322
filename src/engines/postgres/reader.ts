/**
 * Reads the log from PostgreSQL: one short statement a page, so that a slow reader holds no transaction. The statement
 * itself bounds the bytes of a page, by sizes that PostgreSQL knows without reading the payloads. It also proves the newest
place that this node has seen: a server that holds another history returns no event (G13).
 */
import type pg from 'pg';
import type { Cursor, CursorFacts } from '../../log/cursor.ts';
import type { LogEvent } from '../../log/event.ts';
import { type Lineage, originOf, type Place, termOf } from '../../log/place.ts';
import type { Bounds, Page, PageLimit } from '../../log/store.ts';

interface EventRow {
  readonly position: number;
  readonly access_id: string;
  readonly version: number;
  readonly created_at: number;
  readonly recorded_at: number;
  readonly event_id: string | null;
  readonly payload: string;
  readonly tag: number;
}

interface MarkRow {
  readonly pruned_position: number;
  readonly pruned_tag: number;
}

interface PageRow extends EventRow, MarkRow {
  /** Number of events that the page would have without the limit of bytes. */
  readonly total: number;
}

/** Every row of a proven statement says whether the server holds the place. A result without data is one such row. */
type Proven<Row> = { readonly is_held: boolean } & { readonly [Name in keyof Row]: Row[Name] | null };

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
  lastPlace(accessIds: readonly string[], through: number): Promise<Place>;
  firstSince(accessId: string, createdAt: number): Promise<number | undefined>;
  prunedThrough(accessIds: readonly string[]): Promise<Place>;
  cursorFacts(accessIds: readonly string[], cursor: Cursor): Promise<CursorFacts>;
}

export interface PostgresReaderOptions {
  readonly pool: Pick<pg.Pool, 'query'>;
  /** Of the places that the reader returns. */
  readonly lineage: Lineage;
  /** The newest place that is known to be committed. Statements prove it. */
  readonly seen: () => Place;
  /** Called when the server does not hold that place, or has another epoch. The read then throws its result. */
  readonly onOtherHistory: () => Error;
}

const COLUMNS =
  'position, access_id, version, created_at, recorded_at, event_id, payload, coalesce(tag, 0) as tag';

/**
 * Joins the data of a statement to the proof: parameters 1 to 3 are the epoch, and the position and tag that the server
 * must hold. It returns one row at least.
 */
const proven = (data: string): string =>
  `select proof.is_held, data.* from (
     select epoch = $1 and lastseen_holds($2, $3) as is_held from log) as proof
   left join (${data}) as data on proof.is_held`;

/** In the unit of `eventBytes`: two bytes a character at worst. */
const SIZE = `2 * sum(pg_column_size(payload)) over (order by position rows unbounded preceding)
             - 2 * pg_column_size(payload) as before`;

const FEED_PAGE = proven(
  `select mark.pruned_position, mark.pruned_tag, page.* from (
     select coalesce(max(pruned_position), 0) as pruned_position, coalesce(max(pruned_tag), 0) as pruned_tag
     from feeds where access_id = $4) as mark
   left join (
     select ${COLUMNS}, total from (
       select page.*, count(*) over () as total, ${SIZE}
       from (select * from events where access_id = $4 and position > $5 order by position limit $6) as page) as sized
     where before < $7) as page on true`,
).concat(' order by position');

const logPage = (condition: string): string =>
  proven(
    `select ${COLUMNS} from (
       select page.*, ${SIZE}
       from (select * from events where position > $4${condition} order by position limit $5) as page) as sized
     where before < $6`,
  ).concat(' order by position');

const LOG_PAGE = logPage('');
const LOG_PAGE_OF = logPage(' and position <= $7 and access_id = any($8)');

const MARK = proven(
  `select pruned_position, pruned_tag from feeds where access_id = any($4::text[])
   order by pruned_position desc limit 1`,
);

const LAST_PLACE = proven(
  `select last.position, coalesce(last.tag, 0) as tag from unnest($4::text[]) as feed(name)
     cross join lateral (
       select position, tag from events where access_id = name and position <= $5
       order by position desc limit 1) as last
   order by position desc limit 1`,
);

const FIRST_SINCE = proven(
  'select position from events where access_id = $4 and created_at >= $5 order by position limit 1',
);

const CURSOR_FACTS = proven(
  `select log.head, log.tagged_from,
     (select coalesce(tag, 0) from events where position = $4) as tag,
     (select coalesce(
          (select min(later.first_position) - 1 from terms later where later.first_position > own.first_position),
          -- No commit on this server belongs to the term: the next one opens another.
          case when pg_is_in_recovery() then null when log.server <> lastseen_server() then log.head end)
        from terms own where own.term = $5) as term_end,
     (select json_agg(json_build_array(pruned_position::text, pruned_tag::text)) from feeds
        where access_id = any($6::text[]) and pruned_position > 0) as marks
   from log`,
);

export function createPostgresReader({
  pool,
  lineage,
  seen,
  onOtherHistory,
}: PostgresReaderOptions): PostgresReader {
  /** The data of a proven statement, without the row that stands for no data. */
  async function query<Row>(
    sql: string,
    values: readonly unknown[],
    column: keyof Row & string,
  ): Promise<Row[]> {
    const place = seen();
    const { rows } = await pool.query<Proven<Row>>(sql, [
      lineage.epoch,
      place.position,
      place.tag,
      ...values,
    ]);
    if (rows[0]?.is_held !== true) {
      throw onOtherHistory();
    }
    return rows.filter((row) => row[column] !== null) as unknown as Row[];
  }

  function eventOf(row: EventRow): LogEvent {
    return {
      lineage,
      position: row.position,
      tag: row.tag,
      accessId: row.access_id,
      version: row.version,
      createdAt: row.created_at,
      recordedAt: row.recorded_at,
      id: row.event_id,
      payload: row.payload,
    };
  }

  function markOf(row: MarkRow | undefined): Place {
    return row === undefined
      ? originOf(lineage)
      : { lineage, position: row.pruned_position, tag: row.pruned_tag };
  }

  async function prunedThrough(accessIds: readonly string[]): Promise<Place> {
    const [row] = await query<MarkRow>(MARK, [accessIds], 'pruned_position');
    return markOf(row);
  }

  return {
    prunedThrough,
    async readLog(position, limit) {
      const values = [position, limit.maxEvents, limit.maxBytes];
      return (await query<EventRow>(LOG_PAGE, values, 'position')).map(eventOf);
    },
    async readLogOf(accessIds, { after, through, maxEvents, maxBytes }) {
      const values = [after, maxEvents, maxBytes, through, accessIds];
      return (await query<EventRow>(LOG_PAGE_OF, values, 'position')).map(eventOf);
    },
    async readFeed(accessId, position, limit) {
      const values = [accessId, position, limit.maxEvents, limit.maxBytes];
      const rows = await query<PageRow>(FEED_PAGE, values, 'pruned_position');
      const found = rows.filter((row) => (row.position as number | null) !== null);
      const last = found.at(-1);
      const isCut = last !== undefined && (found.length < last.total || last.total >= limit.maxEvents);
      return {
        events: found.map(eventOf),
        through: isCut ? last.position : Math.max(position, limit.head, last?.position ?? 0),
        pruned: markOf(rows[0]),
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
    async lastPlace(accessIds, through) {
      const [last] = await query<Pick<EventRow, 'position' | 'tag'>>(
        LAST_PLACE,
        [accessIds, Math.min(through, Number.MAX_SAFE_INTEGER)],
        'position',
      );
      return last === undefined
        ? prunedThrough(accessIds)
        : { lineage, position: last.position, tag: last.tag };
    },
    async firstSince(accessId, createdAt) {
      const [first] = await query<Pick<EventRow, 'position'>>(FIRST_SINCE, [accessId, createdAt], 'position');
      return first?.position;
    },
    async cursorFacts(accessIds, { position, tag }) {
      const values = [position, tag === undefined ? 0 : termOf(tag), accessIds];
      const [row] = await query<FactsRow>(CURSOR_FACTS, values, 'head');
      if (row === undefined) {
        throw new Error('the table log has no row: the database is incomplete');
      }
      const marks = JSON.parse(row.marks ?? '[]') as [string, string][];
      return {
        lineage,
        head: row.head,
        taggedFrom: row.tagged_from,
        tag: row.tag ?? undefined,
        termEnd: row.term_end ?? undefined,
        marks: marks.map(([markPosition, markTag]) => ({
          lineage,
          position: Number(markPosition),
          tag: Number(markTag),
        })),
      };
    },
  };
}

interface FactsRow {
  readonly head: number;
  readonly tagged_from: number;
  readonly tag: number | null;
  readonly term_end: number | null;
  /** JSON text. */
  readonly marks: string | null;
}
