/**
 * Copies a log into a new file while a server runs over it. Events do not change, so they are copied in pages, each in a
 * read transaction of its own: the write-ahead log of the server is not kept for the time of the copy. One last read
 * transaction copies the events that were appended meanwhile and all other tables. What retention has deleted meanwhile
 * is then deleted from the copy.
 */
import { rmSync } from 'node:fs';
import Database from 'better-sqlite3';

const PAGE_EVENTS = 5_000;

interface SchemaEntry {
  readonly type: string;
  readonly name: string;
  readonly sql: string;
}

/** Copies the log that `source` reads into the new file `path`. The caller flushes the file. */
export function copyLog(source: Database.Database, path: string): void {
  rmSync(path, { force: true });
  const target = new Database(path);
  try {
    // A copy that is interrupted is thrown away.
    target.pragma('journal_mode = off');
    target.pragma('synchronous = off');
    copyInto(source, target);
  } finally {
    target.close();
  }
}

function copyInto(source: Database.Database, target: Database.Database): void {
  const schema = source
    .prepare<[], SchemaEntry>(
      `select type, name, sql from sqlite_master where sql is not null and name not like 'sqlite_%' order by rowid`,
    )
    .all();
  const tables = schema.filter(({ type }) => type === 'table');
  for (const { sql } of tables) {
    target.exec(sql);
  }
  const selectPage = source
    .prepare<[bigint | number, number], unknown[]>(
      'select * from events where position > ? order by position limit ?',
    )
    .raw()
    .safeIntegers();
  const insertEvent = insertInto(target, 'events', selectPage.columns().length);
  let last: bigint | number = 0;

  function copyPage(): number {
    const rows = selectPage.all(last, PAGE_EVENTS);
    for (const row of rows) {
      insertEvent.run(...row);
      last = row[0] as bigint;
    }
    return rows.length;
  }

  const copyInTransaction = target.transaction(copyPage);
  // Pushes that are faster than the copy do not keep it from its end.
  const head = source.prepare<[], number | null>('select max(position) from events').pluck().get() ?? 0;
  let copied = PAGE_EVENTS;
  while (copied === PAGE_EVENTS && last < head) {
    copied = copyInTransaction();
  }
  const copyRest = target.transaction(() => {
    while (copyPage() === PAGE_EVENTS) {
      // The next page.
    }
    for (const { name } of tables.filter((table) => table.name !== 'events')) {
      copyTable(source, target, name);
    }
  });
  source.exec('begin');
  try {
    copyRest();
  } finally {
    source.exec('commit');
  }
  target.exec(
    `delete from events where position < (select floor from log);
     delete from events where exists (select 1 from feeds where pruned_position > 0)
       and position <= coalesce((select pruned_position from feeds where access_id = events.access_id), 0)`,
  );
  // Indexes are faster made at once, and the triggers refuse what was done here.
  for (const { sql } of schema.filter(({ type }) => type !== 'table')) {
    target.exec(sql);
  }
}

function copyTable(source: Database.Database, target: Database.Database, name: string): void {
  const select = source
    .prepare<[], unknown[]>(`select * from ${quoted(name)}`)
    .raw()
    .safeIntegers();
  const insert = insertInto(target, name, select.columns().length);
  for (const row of select.iterate()) {
    insert.run(...row);
  }
}

function insertInto(target: Database.Database, name: string, columns: number): Database.Statement {
  return target.prepare(`insert into ${quoted(name)} values (${Array(columns).fill('?').join(', ')})`);
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
