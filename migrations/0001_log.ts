/** The log: events, what finds them, the heads of the feeds, the keys of repeatable batches; and the admin's token. */
import type { Knex } from 'knex';
import { randomBytes } from 'node:crypto';

export const name = '0001_log';

const SQLITE = [
  `create table log (
    id integer primary key check (id = 1),
    epoch text not null,
    floor integer not null,
    indexed integer not null
  )`,
  `create table events (
    position integer primary key,
    access_id text not null,
    version integer not null,
    created_at integer not null,
    recorded_at integer not null,
    event_id text,
    payload text not null
  )`,
  `create unique index events_event_id on events (access_id, event_id) where event_id is not null`,
  // Written in the order of its key, so that appending never dirties old pages: see docs/decisions.md D2.
  `create table event_index (
    segment integer not null,
    access_id text not null,
    last_offset integer not null,
    max_created_at integer not null,
    offsets text not null,
    primary key (segment, access_id, last_offset)
  ) without rowid`,
  `create table feeds (
    access_id text primary key,
    version integer not null,
    position integer not null,
    pruned_version integer not null default 0,
    pruned_position integer not null default 0
  ) without rowid`,
  `create table batches (
    key text primary key,
    fingerprint text not null,
    first_position integer not null,
    last_position integer not null
  ) without rowid`,
  `create index batches_last_position on batches (last_position)`,
  `create table tokens (
    jti text primary key,
    token_hash text not null,
    scope text not null,
    created_at integer not null
  ) without rowid`,
  `create trigger events_no_update before update on events
    begin select raise(abort, 'events is append-only'); end`,
  `create trigger events_no_delete before delete on events
    when old.position > coalesce((select pruned_position from feeds where access_id = old.access_id), 0)
    begin select raise(abort, 'events is append-only: only what retention has given up may go'); end`,
  `create trigger events_in_order before insert on events
    when new.position <= (select max(position) from events)
    begin select raise(abort, 'events is append-only: a position is taken once'); end`,
  `create view event_history as
    select position, access_id, version,
           strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000.0, 'unixepoch') as created_at,
           strftime('%Y-%m-%dT%H:%M:%fZ', recorded_at / 1000.0, 'unixepoch') as recorded_at,
           event_id, payload
    from events`,
  `create view event_counts as
    select access_id, date(recorded_at / 1000.0, 'unixepoch') as day, count(*) as events,
           min(version) as first_version, max(version) as last_version
    from events group by access_id, day`,
];

/** Milliseconds outside the years 1 to 9999 have no timestamp. */
const timestampOf = (column: string): string =>
  `case when ${column} between -62135596800000 and 253402300799999
        then to_char(to_timestamp(${column} / 1000.0) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end`;

const POSTGRES = [
  `create table log (
    id smallint primary key check (id = 1),
    epoch text not null,
    floor bigint not null,
    head bigint not null
  )`,
  // Names are compared by their bytes, as SQLite does.
  `create table events (
    position bigint primary key,
    access_id text collate "C" not null,
    version bigint not null,
    created_at bigint not null,
    recorded_at bigint not null,
    event_id text collate "C",
    payload json not null
  )`,
  // Large payloads are kept apart, uncompressed: their size is then known without reading them (D12).
  `alter table events alter column payload set storage external`,
  `create unique index events_event_id on events (access_id, event_id) where event_id is not null`,
  `create index events_access_id on events (access_id, position) include (created_at)`,
  // Only what retention has taken something from: the rest is in events.
  `create table feeds (
    access_id text collate "C" primary key,
    version bigint not null,
    position bigint not null,
    pruned_version bigint not null default 0,
    pruned_position bigint not null default 0
  )`,
  `create table batches (
    key text collate "C" primary key,
    fingerprint text not null,
    first_position bigint not null,
    last_position bigint not null
  )`,
  `create index batches_last_position on batches (last_position)`,
  `create table nodes (
    node_id text primary key,
    seen_at timestamptz not null,
    asked bigint not null default 0,
    answered bigint not null default 0,
    answer text
  )`,
  // The last group that each connection has appended: how a commit whose answer was lost is found again.
  `create table writers (
    writer_id text primary key,
    seen_at timestamptz not null,
    last_group bigint not null,
    last_position bigint not null
  )`,
  `create table tokens (
    jti text primary key,
    token_hash text not null,
    scope text not null,
    created_at bigint not null
  )`,
  `create function events_append_only() returns trigger language plpgsql as $$
    begin
      if tg_op = 'DELETE' then
        if old.position <= coalesce((select pruned_position from feeds where access_id = old.access_id), 0) then
          return old;
        end if;
        raise exception 'events is append-only: only what retention has given up may go';
      end if;
      raise exception 'events is append-only';
    end $$`,
  `create trigger events_no_update before update on events
    for each row execute function events_append_only()`,
  `create trigger events_no_delete before delete on events
    for each row execute function events_append_only()`,
  `create trigger events_no_truncate before truncate on events
    for each statement execute function events_append_only()`,
  // A group in one round trip. What the caller knows of feeds holds if nobody has appended since; the rest is looked up.
  `create function lastseen_append(
      p_lock bigint, p_writer text, p_group bigint, p_notify boolean, p_recorded_at bigint, p_known_head bigint,
      p_names text[], p_versions bigint[], p_name_at int[], p_nth int[],
      p_access_ids text[], p_created_ats bigint[], p_event_ids text[], p_payloads json[],
      out head_before bigint, out epoch text, out versions bigint[]
    ) language plpgsql as $$
    begin
      if current_setting('synchronous_commit') in ('off', 'local') then
        perform set_config('synchronous_commit', 'on', true);
      end if;
      perform pg_advisory_xact_lock(p_lock);
      -- A statement of its own, so that it sees whatever the last holder of the lock has committed.
      select log.head, log.epoch into head_before, epoch from log;
      select array_agg(coalesce(
               case when head_before = p_known_head then known end,
               (select version from events where access_id = name order by position desc limit 1),
               (select version from feeds where access_id = name),
               0) order by place)
        into versions
        from unnest(p_names, p_versions) with ordinality as feed(name, known, place);
      insert into events (position, access_id, version, created_at, recorded_at, event_id, payload)
        select head_before + place, name, versions[name_at] + nth, created_at, p_recorded_at, id, body
        from unnest(p_access_ids, p_name_at, p_nth, p_created_ats, p_event_ids, p_payloads) with ordinality
          as new(name, name_at, nth, created_at, id, body, place);
      update log set head = head_before + cardinality(p_access_ids);
      insert into writers values (p_writer, now(), p_group, head_before + cardinality(p_access_ids))
        on conflict (writer_id) do update set
          seen_at = excluded.seen_at, last_group = excluded.last_group, last_position = excluded.last_position
          where writers.last_group < excluded.last_group;
      -- The node has lost this connection and given the group up: a statement that comes late appends nothing.
      if not found then
        raise exception 'this group was given up';
      end if;
      if p_notify then
        notify lastseen;
      end if;
    end $$`,
  `create view event_history as
    select position, access_id, version, ${timestampOf('created_at')} as created_at,
           ${timestampOf('recorded_at')} as recorded_at, event_id, payload
    from events`,
  `create view event_counts as
    select access_id, to_char(to_timestamp(recorded_at / 1000.0) at time zone 'UTC', 'YYYY-MM-DD') as day,
           count(*) as events, min(version) as first_version, max(version) as last_version
    from events group by 1, 2`,
];

/** Makes the log empty, with a new epoch. */
export async function up(knex: Knex): Promise<void> {
  const isPostgres = (knex.client as { driverName: string }).driverName === 'pg';
  for (const statement of isPostgres ? POSTGRES : SQLITE) await knex.raw(statement);
  await knex('log').insert({ id: 1, epoch: newEpoch(), floor: 1, [isPostgres ? 'head' : 'indexed']: 0 });
}

/** Undoing the first migration would be losing the log. */
export function down(): Promise<void> {
  return Promise.reject(new Error('0001_log cannot be undone: it holds the events'));
}

/** Eight characters of base 36, about 41 bits. */
function newEpoch(): string {
  return Array.from(randomBytes(8), (byte) => (byte % 36).toString(36)).join('');
}
