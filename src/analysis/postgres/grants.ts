/** The roles of analysts on PostgreSQL. */

/**
 * Creates the roles of POST /query where they are missing, and grants them their rights. `lastseen_query` may read the
 * contract. `lastseen_restricted` may read no table: its queries read temporary views of what a restricted token covers.
 * Roles belong to the server, not to the database. Where the user of the database may not create them, everything but
 * POST /query works, and a user with the right can run this later. The migration 0003 has a copy of its own.
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
