/** What analysts query beside `events`, the same on both engines; on PostgreSQL also the roles that may. */
import type { Knex } from 'knex';

export const name = '0003_analysis';

/** The views of this migration. Each reads `events` and nothing else. */
const VIEWS = ['event_gaps', 'event_delays', 'event_days', 'access_id_activity'] as const;

const GAPS = `create view event_gaps as
  select position, access_id, version, recorded_at,
         recorded_at - lag(recorded_at) over feed as gap_ms,
         created_at - lag(created_at) over feed as created_gap_ms
  from events window feed as (partition by access_id order by position)`;

const DELAYS = `create view event_delays as
  select position, access_id, version, created_at, recorded_at, recorded_at - created_at as delay_ms,
         case when created_at < max(created_at) over (
                partition by access_id order by position rows between unbounded preceding and 1 preceding
              ) then 1 else 0 end as is_late
  from events`;

const days = (day: string, bytes: string): string => `create view event_days as
  select ${day} as day, count(*) as events, count(distinct access_id) as access_ids,
         sum(${bytes}) as payload_bytes, min(position) as first_position, max(position) as last_position
  from events group by 1`;

const activity = (bytes: string, time: (ms: string) => string): string => `create view access_id_activity as
  select access_id, count(*) as events, min(version) as first_version, max(version) as last_version,
         ${time('min(recorded_at)')} as first_recorded_at, ${time('max(recorded_at)')} as last_recorded_at,
         sum(${bytes}) as payload_bytes
  from events group by access_id`;

const SQLITE_BYTES = 'length(cast(payload as blob))';

const SQLITE = [
  GAPS,
  DELAYS,
  days(`date(recorded_at / 1000.0, 'unixepoch')`, SQLITE_BYTES),
  activity(SQLITE_BYTES, (ms) => `strftime('%Y-%m-%dT%H:%M:%fZ', ${ms} / 1000.0, 'unixepoch')`),
];

const POSTGRES_BYTES = 'octet_length(payload::text)';
const utc = (ms: string): string => `to_timestamp(${ms} / 1000.0) at time zone 'UTC'`;

const POSTGRES = [
  GAPS,
  DELAYS,
  days(`to_char(${utc('recorded_at')}, 'YYYY-MM-DD')`, POSTGRES_BYTES),
  activity(POSTGRES_BYTES, (ms) => `to_char(${utc(ms)}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`),
];

/**
 * `lastseen_query` may read the contract; `lastseen_restricted` may read nothing by itself, and is shown views of what
 * a restricted token covers. Roles belong to the server, not to the database: where they cannot be made, the rest
 * works without POST /query, and this can be repeated by whoever may.
 */
const GRANT_CONTRACT = `do $$
  declare
    wanted text;
    me record;
  begin
    select rolname, rolsuper into me from pg_roles where rolname = current_user;
    foreach wanted in array array['lastseen_query', 'lastseen_restricted'] loop
      if not exists (select from pg_roles where rolname = wanted) then
        begin
          execute format('create role %I nologin', wanted);
        exception when duplicate_object or unique_violation or insufficient_privilege then
          null;
        end;
      end if;
      if not me.rolsuper and exists (select from pg_roles where rolname = wanted) then
        begin
          execute format('grant %I to %I', wanted, me.rolname);
        exception when insufficient_privilege or invalid_grant_operation then
          null;
        end;
      end if;
    end loop;
    if exists (select from pg_roles where rolname = 'lastseen_query') then
      begin
        execute format('grant usage on schema %I to lastseen_query', current_schema());
      exception when insufficient_privilege then
        null;
      end;
      grant select on events, event_history, event_counts, event_gaps, event_delays, event_days, access_id_activity
        to lastseen_query;
    end if;
  end $$`;

export async function up(knex: Knex): Promise<void> {
  const isPostgres = (knex.client as { driverName: string }).driverName === 'pg';
  for (const statement of isPostgres ? [...POSTGRES, GRANT_CONTRACT] : SQLITE) await knex.raw(statement);
}

/** The roles stay: other databases of the server may use them. */
export async function down(knex: Knex): Promise<void> {
  for (const view of VIEWS) await knex.schema.dropView(view);
}
