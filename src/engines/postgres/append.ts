/**
 * Appends groups of requests to PostgreSQL. Every group of every node takes the same transaction-scoped advisory lock
 * before it numbers its events, and holds it until the commit. PostgreSQL makes a transaction visible before it releases
 * its locks, so position order is commit order (G2): readers need only `position > cursor`, and transactions of others,
 * however long, delay nobody.
 *
 * When the connection is lost between COMMIT and its answer, `settle.ts` finds the outcome on a new connection: each group
 * writes its own number beside its events. A transaction id would not do, since PostgreSQL may use it again after a crash.
 */
import pg from 'pg';
import { LastseenError } from '../../errors.ts';
import type { Lineage, Place } from '../../log/place.ts';
import type { AppendAnswer, AppendOutcome, AppendRequest, AppendResult } from '../../log/store.ts';
import type { Runtime } from '../../runtime.ts';
import { createDraws, drawTerm } from '../terms.ts';
import { groupColumnsOf, resultOfNewEvents } from './columns.ts';
import {
  connect,
  type Connection,
  destroyConnection,
  isReadOnlyError,
  isStatementError,
  isUnreplicated,
  toStoreError,
} from './connection.ts';
import { createFeedVersions, type LogEnd } from './feed-versions.ts';
import { isSameServer, type ServerIdentity } from './server-identity.ts';
import { APPEND_LOCK, type GroupName, OutcomeUnknown, settle } from './settle.ts';
import { writeGroup } from './transaction.ts';

/** SQLSTATE of an id that the log has already. */
const UNIQUE_VIOLATION = '23505';

/** SQLSTATEs of our own functions: the log holds another history; the log has the drawn term already. */
const OTHER_HISTORY = 'LS001';
const TERM_TAKEN = 'LS002';

export interface PostgresAppender {
  append(requests: readonly AppendRequest[]): Promise<AppendAnswer>;
  /** The backend of the connection that appends: it sends this node's own notifications. */
  readonly processId: number | undefined;
  /** Closes its connection, unless it is one to the server `except`. The outcome of a group under way is then settled. */
  dropConnection(except: ServerIdentity | undefined): void;
  close(): void;
}

export interface PostgresAppenderOptions {
  readonly url: string;
  readonly runtime: Runtime;
  /** Send a notification with each commit. Default true; false is for measuring its price. */
  readonly notify?: boolean;
  /** Of the places of the receipts. */
  readonly lineage: Lineage;
  /** Names this node in the terms that it opens. */
  readonly nodeId: string;
  /** The newest place that is known to be committed. The database appends nothing unless it holds it. */
  readonly seen: () => Place;
  /** Called after each commit with the end of the log. */
  readonly onSeen: (end: Place) => void;
  /** Called when the database holds another history. Returns the error of the append. */
  readonly onOtherHistory: () => Error;
}

const APPEND_GROUP = `select * from lastseen_append(
  ${Array.from({ length: 22 }, (_, index) => `$${index + 1}`).join(', ')})`;

/** The log at the beginning of a transaction that holds the append lock. */
interface BegunRow {
  readonly head: number;
  readonly head_tag: number;
  readonly is_held: boolean;
  readonly is_lax: boolean;
}

/** A connection that appends, and the name under which its groups are numbered. Each connection has a name of its own. */
interface AppendConnection {
  readonly client: Connection;
  readonly writerId: string;
  lastGroup: number;
  /** The server has stopped waiting for its synchronous standby: what it has just committed may be lost with it. */
  isUnreplicated: boolean;
}

/** Names the next group, before its first statement: name and number belong together whatever is lost afterwards. */
function nextGroup(connection: AppendConnection): GroupName {
  connection.lastGroup += 1;
  connection.isUnreplicated = false;
  return { writerId: connection.writerId, group: connection.lastGroup, server: connection.client.identity };
}

/** @throws Error if the last commit is not on the synchronous standby: its outcome is then settled as if it were lost. */
function requireReplicated(connection: AppendConnection): void {
  if (connection.isUnreplicated) {
    throw new Error('the server has committed without its synchronous standby');
  }
}

export function createPostgresAppender(options: PostgresAppenderOptions): PostgresAppender {
  const { runtime, lineage } = options;
  const draw = createDraws(runtime.random);
  let current: AppendConnection | undefined;
  let isClosed = false;
  /** The first commit opens a term. So does any other on a server that is not the one of the commit before. */
  let hasOpenedTerm = false;
  const feedVersions = createFeedVersions();
  const notify = options.notify === false ? '' : 'notify lastseen;';

  async function connection(): Promise<AppendConnection> {
    if (isClosed) {
      throw new LastseenError('ERR_STORE_UNAVAILABLE', 'the store is closed');
    }
    if (current !== undefined) {
      return current;
    }
    const client = await connect(options.url, { onLost: discard });
    const opened = { client, writerId: runtime.random.uuid(), lastGroup: 0, isUnreplicated: false };
    client.on('notice', (notice) => {
      opened.isUnreplicated ||= isUnreplicated(notice);
    });
    current = opened;
    return current;
  }

  function discard(client: pg.Client): void {
    if (current?.client === client) {
      current = undefined;
    }
    feedVersions.clear();
    destroyConnection(client);
  }

  async function append(requests: readonly AppendRequest[]): Promise<AppendAnswer> {
    const recordedAt = runtime.clock.now();
    try {
      return (
        (await appendInOneStatement(requests, recordedAt)) ??
        (await appendInTransaction(requests, recordedAt))
      );
    } catch (error) {
      if (error instanceof OutcomeUnknown) {
        return { pending: settleLost(error) };
      }
      if (isReadOnlyError(error) && current !== undefined) {
        // The server was demoted under the connection, as behind a pooler: the next group asks the others.
        discard(current.client);
        throw toStoreError(error);
      }
      if (hasCode(error, OTHER_HISTORY)) {
        throw options.onOtherHistory();
      }
      if (hasCode(error, TERM_TAKEN)) {
        return append(requests);
      }
      // The whole group failed on something unforeseen: each request gets a transaction of its own.
      if (isStatementError(error) && requests.length > 1) {
        return appendAlone(requests, recordedAt);
      }
      throw toStoreError(error);
    }
  }

  const settleLost = (attempt: OutcomeUnknown): Promise<AppendResult> =>
    settle(attempt, { url: options.url, runtime, isClosed: () => isClosed });

  async function appendAlone(requests: readonly AppendRequest[], recordedAt: number): Promise<AppendResult> {
    const outcomes: AppendOutcome[] = [];
    for (const request of requests) {
      try {
        const result = await appendInTransaction([request], recordedAt).catch((error: unknown) => {
          if (error instanceof OutcomeUnknown) {
            return settleLost(error);
          }
          throw error;
        });
        outcomes.push(...result.outcomes);
      } catch (error) {
        // The other requests are appended nevertheless.
        outcomes.push({ refused: toStoreError(error) });
      }
    }
    return { recordedAt, outcomes };
  }

  /**
   * Appends a group in one round trip. Returns `undefined` if the group needs look-ups first: a batch has a key, a request
   * changes rows, or the log has an id already.
   */
  async function appendInOneStatement(
    requests: readonly AppendRequest[],
    recordedAt: number,
  ): Promise<AppendResult | undefined> {
    if (requests.some(({ key, rows }) => key !== null || rows !== undefined)) {
      return undefined;
    }
    const writer = await connection();
    const columns = groupColumnsOf(requests, feedVersions.versions, recordedAt);
    const name = nextGroup(writer);
    try {
      const seen = options.seen();
      const known = feedVersions.end;
      const { rows } = await writer.client.query<{
        head_before: number;
        tag_before: number;
        new_tag: number;
        versions: string[];
      }>(APPEND_GROUP, [
        APPEND_LOCK,
        name.writerId,
        name.group,
        options.notify !== false,
        recordedAt,
        lineage.epoch,
        seen.position,
        seen.tag,
        !hasOpenedTerm,
        drawTerm(draw),
        draw(),
        options.nodeId,
        known.position,
        known.tag,
        columns.names,
        columns.versions,
        columns.nameIndexes,
        columns.ordinals,
        columns.accessIds,
        columns.createdAts,
        columns.ids,
        columns.payloads,
      ]);
      requireReplicated(writer);
      const [appended] = rows;
      if (appended === undefined) {
        throw new Error('lastseen_append returned no row');
      }
      const versions = appended.versions.map(Number);
      const { head_before: headBefore, new_tag: tag } = appended;
      const end = { lineage, position: headBefore + columns.accessIds.length, tag };
      const knownVersions = feedVersions.move({ position: headBefore, tag: appended.tag_before }, end);
      columns.names.forEach((accessId, index) => {
        knownVersions.set(accessId, (versions[index] ?? 0) + (columns.counts[index] ?? 0));
      });
      hasOpenedTerm = true;
      options.onSeen(end);
      return resultOfNewEvents(requests, {
        recordedAt,
        lineage,
        headBefore,
        tagAt: () => tag,
        versionAt: (index) =>
          (versions[(columns.nameIndexes[index] ?? 0) - 1] ?? 0) + (columns.ordinals[index] ?? 0),
      });
    } catch (error) {
      if (isStatementError(error)) {
        if ((error as pg.DatabaseError).code === UNIQUE_VIOLATION) {
          return undefined;
        }
        throw error;
      }
      discard(writer.client);
      const count = columns.accessIds.length;
      throw new OutcomeUnknown(
        { ...name, events: count },
        async (lastPosition, client) => {
          const first = lastPosition - count + 1;
          const { rows } = await client.query<{ version: number; tag: number }>(
            'select version, tag from events where position between $1 and $2 order by position',
            [first, lastPosition],
          );
          if (rows.length < count) {
            throw new Error('the events were pruned before their outcome was known');
          }
          return resultOfNewEvents(requests, {
            recordedAt,
            lineage,
            headBefore: first - 1,
            tagAt: (index) => rows[index]?.tag ?? 0,
            versionAt: (index) => rows[index]?.version ?? 0,
          });
        },
        error,
      );
    }
  }

  async function appendInTransaction(
    requests: readonly AppendRequest[],
    recordedAt: number,
  ): Promise<AppendResult> {
    const writer = await connection();
    const name = nextGroup(writer);
    const { client } = writer;
    const seen = options.seen();
    try {
      // PostgreSQL terminates a session that stalls for 10 s while it holds the lock.
      const begun = (await client.query(
        `begin isolation level read committed;
         set local idle_in_transaction_session_timeout = 10000;
         select pg_advisory_xact_lock(${APPEND_LOCK});
         select head, head_tag, epoch = ${pg.escapeLiteral(lineage.epoch)}
                and lastseen_holds(${seen.position}, ${seen.tag}) as is_held,
                current_setting('synchronous_commit') in ('off', 'local') as is_lax from log;
         select lastseen_tag(head, ${!hasOpenedTerm}, ${drawTerm(draw)}, ${draw()},
                ${pg.escapeLiteral(options.nodeId)}, ${recordedAt}) as tag from log`,
      )) as unknown as [unknown, unknown, unknown, pg.QueryResult<BegunRow>, pg.QueryResult<{ tag: number }>];
      const [log] = begun[3].rows;
      const { tag = 0 } = begun[4].rows[0] ?? {};
      if (log === undefined) {
        throw new Error('the table log has no row: the database is incomplete');
      }
      if (!log.is_held) {
        await client.query('rollback');
        throw options.onOtherHistory();
      }
      const before: LogEnd = { position: log.head, tag: log.head_tag };
      if (log.is_lax) {
        await client.query('set local synchronous_commit = on');
      }
      const written = await writeGroup(client, requests, {
        recordedAt,
        lineage,
        tag,
        head: log.head,
        knownVersions: feedVersions.asOf(before),
      });
      const { head } = written;
      const result: AppendResult = { recordedAt, outcomes: written.outcomes };
      const count = head - log.head;
      const isNew = count > 0 || requests.some(({ rows }) => rows !== undefined);
      if (!isNew && !written.outcomes.some((outcome) => 'receipts' in outcome)) {
        await client.query('commit');
        return result;
      }
      // A group of repeated events writes its number too. Its commit waits for the flush of what it has found, and for a
      // synchronous standby: after a crash, the server may show a commit that the standby lacks.
      try {
        await client.query(
          `${isNew ? `update log set head = ${head}, head_tag = ${count === 0 ? log.head_tag : tag};` : ''}
           insert into writers values ('${name.writerId}', now(), ${name.group}, ${head})
             on conflict (writer_id) do update set seen_at = excluded.seen_at,
               last_group = excluded.last_group, last_position = excluded.last_position;
           ${isNew ? notify : ''} commit`,
        );
        requireReplicated(writer);
      } catch (error) {
        if (isStatementError(error)) {
          throw error;
        }
        throw new OutcomeUnknown({ ...name, events: count }, () => Promise.resolve(result), error);
      }
      const end = count === 0 ? { lineage, ...before } : { lineage, position: head, tag };
      const known = feedVersions.move(before, end);
      for (const [accessId, version] of written.versions) {
        known.set(accessId, version);
      }
      hasOpenedTerm = true;
      options.onSeen(end);
      return result;
    } catch (error) {
      if (isStatementError(error)) {
        await client.query('rollback').catch(() => undefined);
      } else {
        discard(client);
      }
      throw error;
    }
  }

  return {
    append,
    dropConnection(except) {
      if (current !== undefined && (except === undefined || !isSameServer(current.client.identity, except))) {
        discard(current.client);
      }
    },
    get processId() {
      return (current?.client as unknown as { processID?: number } | undefined)?.processID;
    },
    close() {
      isClosed = true;
      if (current !== undefined) {
        destroyConnection(current.client);
      }
    },
  };
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof pg.DatabaseError && error.code === code;
}
