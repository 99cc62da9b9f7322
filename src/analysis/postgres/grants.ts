/** The roles of analysts on PostgreSQL. */

/**
 * `lastseen_query` may read the contract; `lastseen_restricted` may read nothing by itself, and is shown views of what
 * a restricted token covers. Roles belong to the server, not to the database: where they cannot be made, the rest
 * works without POST /query, and this can be repeated by whoever may.
 */
export const GRANT_CONTRACT = `do $$
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
