/**
 * The proof of the history: a tag on every event, on the mark of each pruned feed and on each keyed batch, and the
 * terms in which tags were drawn. Events that exist keep no tag, so nothing is rewritten. See docs/decisions.md D48.
 */
import type { Knex } from 'knex';

export const name = '0007_lineage';

const SQLITE = [
  `alter table events add column tag integer`,
  `alter table feeds add column pruned_tag integer not null default 0`,
  `alter table batches add column tag integer not null default 0`,
  // Events below this position have no tags.
  `alter table log add column tagged_from integer not null default 1`,
  `update log set tagged_from = max(coalesce((select max(position) from events), 0), floor - 1) + 1`,
  `create table terms (
    term integer primary key,
    first_position integer not null,
    opened_at integer not null,
    node text not null
  )`,
  `create index terms_first_position on terms (first_position)`,
];

const POSTGRES = [
  `alter table events add column tag bigint`,
  `alter table feeds add column pruned_tag bigint not null default 0`,
  `alter table batches add column tag bigint not null default 0`,
  `alter table log add column tagged_from bigint not null default 1,
     add column head_tag bigint not null default 0,
     add column term integer not null default 0,
     add column server text not null default ''`,
  `update log set tagged_from = head + 1`,
  `create table terms (
    term integer primary key,
    first_position bigint not null,
    opened_at bigint not null,
    node text not null
  )`,
  `create index terms_first_position on terms (first_position)`,
  // A node of the release before that wakes up late must not append without tags.
  `create function events_need_tags() returns trigger language plpgsql as $$
    begin
      if new.position >= (select tagged_from from log) then
        raise exception 'an event needs a tag: this program is older than the database';
      end if;
      return new;
    end $$`,
  `create trigger events_need_tags before insert on events
    for each row when (new.tag is null) execute function events_need_tags()`,
  // Another server, a restarted one, or one that was promoted has another name.
  `create function lastseen_server() returns text language plpgsql volatile as $$
    declare
      started text := extract(epoch from pg_postmaster_start_time())::text;
    begin
      return started || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8);
    exception when insufficient_privilege then
      -- A promoted server has another start time than the one before it.
      return started;
    end $$`,
  // Whether the log holds this place. Retention may have deleted the row: then the term of the tag decides.
  `create function lastseen_holds(p_position bigint, p_tag bigint) returns boolean language sql stable as $$
    select p_position = 0 or coalesce(
      (select coalesce(tag, 0) = p_tag from events where position = p_position),
      (select p_position = head and p_tag = head_tag
           or p_position <= head and case when p_tag = 0 then p_position < tagged_from else exists (
                select from terms own
                where own.term = p_tag >> 32 and own.first_position <= p_position
                  and not exists (
                    select from terms later
                    where later.first_position > own.first_position and later.first_position <= p_position))
              end
       from log))
  $$`,
  // The tag of a commit, under the append lock. Opens a term if the node asks for it, or if the server is another one.
  `create function lastseen_tag(
      p_head bigint, p_opens boolean, p_term integer, p_commit bigint, p_node text, p_now bigint
    ) returns bigint language plpgsql as $$
    declare
      current_term integer;
      last_server text;
      this_server text := lastseen_server();
    begin
      select term, server into current_term, last_server from log;
      if p_opens or current_term = 0 or last_server <> this_server then
        insert into terms values (p_term, p_head + 1, p_now, p_node) on conflict do nothing;
        if not found then
          raise exception 'the term is taken' using errcode = 'LS002';
        end if;
        update log set term = p_term, server = this_server;
        current_term := p_term;
      end if;
      return (current_term::bigint << 32) + p_commit;
    end $$`,
  `drop function lastseen_append(bigint, text, bigint, boolean, bigint, bigint, text[], bigint[], int[], int[],
     text[], bigint[], text[], json[])`,
  // A group in one round trip. It appends nothing unless the log holds the place that the caller has seen.
  `create function lastseen_append(
      p_lock bigint, p_writer text, p_group bigint, p_notify boolean, p_recorded_at bigint,
      p_epoch text, p_seen_position bigint, p_seen_tag bigint,
      p_opens boolean, p_term integer, p_commit bigint, p_node text,
      p_known_head bigint, p_known_tag bigint, p_names text[], p_versions bigint[], p_name_at int[], p_nth int[],
      p_access_ids text[], p_created_ats bigint[], p_event_ids text[], p_payloads json[],
      out head_before bigint, out tag_before bigint, out new_tag bigint, out versions bigint[]
    ) language plpgsql as $$
    declare
      log_epoch text;
    begin
      if current_setting('synchronous_commit') in ('off', 'local') then
        perform set_config('synchronous_commit', 'on', true);
      end if;
      perform pg_advisory_xact_lock(p_lock);
      -- A statement of its own, so that it sees whatever the last holder of the lock has committed.
      select log.head, log.epoch, log.head_tag into head_before, log_epoch, tag_before from log;
      if log_epoch <> p_epoch or not lastseen_holds(p_seen_position, p_seen_tag) then
        raise exception 'the log holds another history' using errcode = 'LS001';
      end if;
      new_tag := lastseen_tag(head_before, p_opens, p_term, p_commit, p_node, p_recorded_at);
      select array_agg(coalesce(
               case when head_before = p_known_head and tag_before = p_known_tag then known end,
               (select version from events where access_id = name order by position desc limit 1),
               (select version from feeds where access_id = name),
               0) order by place)
        into versions
        from unnest(p_names, p_versions) with ordinality as feed(name, known, place);
      insert into events (position, access_id, version, created_at, recorded_at, event_id, payload, tag)
        select head_before + place, name, versions[name_at] + nth, created_at, p_recorded_at, id, body, new_tag
        from unnest(p_access_ids, p_name_at, p_nth, p_created_ats, p_event_ids, p_payloads) with ordinality
          as new(name, name_at, nth, created_at, id, body, place);
      update log set head = head_before + cardinality(p_access_ids), head_tag = new_tag;
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
];

export async function up(knex: Knex): Promise<void> {
  const isPostgres = (knex.client as { driverName: string }).driverName === 'pg';
  for (const statement of isPostgres ? POSTGRES : SQLITE) {
    await knex.raw(statement);
  }
}

/** Without the tags, cursors would prove nothing: going back to the release before is a restore of a backup. */
export function down(): Promise<void> {
  return Promise.reject(new Error('0007_lineage cannot be undone: cursors prove their history by its tags'));
}
