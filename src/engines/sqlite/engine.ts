/**
 * The SQLite engine: one file, one process. Writes go to a thread with the only writing connection; checkpoints run
 * in a second thread; reads are short statements on read-only connections here (G1, G2, G4, G5). What is reported
 * as committed is what the writer has answered: a reader that sees the file a moment earlier says nothing of it.
 */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import knexFactory, { type Knex } from 'knex';
import { LastseenError } from '../../errors.ts';
import type { AppendOutcome, AppendRequest, AppendResult, EventStore } from '../../log/store.ts';
import { noPeers } from '../../peers.ts';
import type { Engine } from '../engine.ts';
import { identityStore } from '../knex/identity.ts';
import { migrate, requireMigrated } from '../knex/migrate.ts';
import { changedMeanwhile, conflict } from '../refusal.ts';
import { sqliteKnexConfig } from './knex.ts';
import { lockFile } from './lock.ts';
import { openReader } from './reader.ts';
import { createRecentPositions } from './recent-positions.ts';
import {
  columnsOf,
  type ReceiptColumns,
  type Refusal,
  type WriterMessage,
  type WriterReply,
} from './thread-protocol.ts';

export interface SqliteOptions {
  /** File of the database; its directory is made if it is missing. */
  readonly path: string;
  /** Run missing migrations (default) or refuse to open without them. */
  readonly migrate?: boolean;
  /** Told of failures that have no caller. */
  readonly onError?: (error: unknown) => void;
}

/**
 * Locks, migrates and opens the file.
 * @throws ERR_STORE_LOCKED when another process has it, ERR_STORE_UNAVAILABLE when its schema does not fit.
 */
export async function openSqlite(options: SqliteOptions): Promise<Engine> {
  const { path, onError = () => undefined } = options;
  mkdirSync(dirname(path), { recursive: true });
  const unlock = lockFile(path);
  try {
    const knex = knexFactory(sqliteKnexConfig(path));
    try {
      await (options.migrate === false ? requireMigrated(knex) : migrate(knex));
    } catch (error) {
      await knex.destroy();
      throw error;
    }
    const store = await openStore(path, unlock, onError, knex);
    const walBytes = (): number => statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
    return { store, identity: identityStore(knex), peers: noPeers(), walBytes };
  } catch (error) {
    unlock();
    throw error;
  }
}

/** Runs missing migrations and returns their names. @throws ERR_STORE_LOCKED */
export async function migrateSqlite(path: string): Promise<string[]> {
  mkdirSync(dirname(path), { recursive: true });
  const unlock = lockFile(path);
  const knex = knexFactory(sqliteKnexConfig(path));
  try {
    return await migrate(knex);
  } finally {
    await knex.destroy();
    unlock();
  }
}

async function openStore(
  path: string,
  unlock: () => void,
  onError: (error: unknown) => void,
  knex: Knex,
): Promise<EventStore> {
  const writer = startThread('writer-thread', path);
  let head = await ready(writer);
  const start = readStart(path);
  const recent = createRecentPositions(start.indexed);
  for (const [position, accessId] of start.unindexed) {
    recent.add(position, accessId);
  }
  const reader = openReader(path, recent);
  const checkpointer = startThread('checkpointer-thread', path);
  checkpointer.on('message', (message: { type: string; message?: string }) => {
    if (message.type === 'restart-wal') {
      post({ type: 'restart-wal' });
    } else {
      onError(new Error(`checkpoint failed: ${message.message ?? ''}`));
    }
  });

  let waiting:
    | {
        requests: readonly AppendRequest[];
        resolve: (result: AppendResult) => void;
        reject: (error: Error) => void;
      }
    | undefined;
  let onPruned: ((forgotten: number, failed: string | undefined) => void) | undefined;
  let pruning: Promise<unknown> = Promise.resolve();
  let dead: Error | undefined;
  const closed = new Promise<void>((resolve) => {
    writer.once('exit', () => {
      die(new Error('the writer thread has ended'));
      resolve();
    });
  });

  function die(error: Error): void {
    dead ??= error;
    waiting?.reject(dead);
    waiting = undefined;
    onPruned?.(0, dead.message);
  }

  writer.on('error', (error) => {
    onError(error);
    die(error);
  });
  // Handled in the order sent and without a pause, so that the memory of recent positions follows the writer's.
  writer.on('message', (reply: WriterReply) => {
    if (reply.type === 'appended') {
      onAppended(reply);
    } else if (reply.type === 'frozen') {
      recent.freeze();
    } else if (reply.type === 'indexed') {
      recent.indexed(reply.through);
    } else if (reply.type === 'pruned') {
      onPruned?.(reply.forgotten, reply.failed);
    }
  });

  function onAppended(reply: WriterReply & { type: 'appended' }): void {
    if (waiting === undefined) {
      return;
    }
    const { requests, resolve } = waiting;
    waiting = undefined;
    head = reply.head;
    const { positions, isDuplicate } = reply.receipts;
    let from = 0;
    const outcomes = requests.map((request, at) => {
      const outcome = outcomeOf(request, reply.receipts.refusals.get(at), reply.receipts, from);
      if ('receipts' in outcome) {
        request.events.forEach((event, index) => {
          if (isDuplicate[from + index] === 0) {
            recent.add(positions[from + index] ?? 0, event.accessId);
          }
        });
      }
      from += request.events.length;
      return outcome;
    });
    resolve({ recordedAt: reply.recordedAt, outcomes });
  }

  function post(message: WriterMessage): void {
    writer.postMessage(message);
  }

  function append(requests: readonly AppendRequest[]): Promise<AppendResult> {
    if (dead !== undefined) {
      return Promise.reject(unavailable(dead.message));
    }
    return new Promise((resolve, reject) => {
      waiting = { requests, resolve, reject };
      post({ type: 'append', columns: columnsOf(requests) });
    });
  }

  return {
    append,
    // Reading is synchronous underneath: a turn of the event loop between pages keeps many readers fair.
    async readFeed(accessId, position, limit) {
      await nextTurn();
      return reader.readFeed(accessId, position, limit, head);
    },
    async readLog(position, limit) {
      await nextTurn();
      return reader.readLog(position, limit).filter((event) => event.position <= head);
    },
    bounds: () => Promise.resolve({ epoch: start.epoch, floor: reader.floor(), head }),
    lastPosition: (accessId) => Promise.resolve(reader.lastPosition(accessId)),
    positionBefore: (accessId, createdAt) => reader.positionBefore(accessId, createdAt, head),
    prunedThrough: (accessId) => Promise.resolve(reader.prunedThrough(accessId)),
    prune(rule) {
      const turn = pruning.then(
        () =>
          new Promise<number>((resolve, reject) => {
            onPruned = (forgotten, failed) => {
              onPruned = undefined;
              if (failed === undefined) {
                resolve(forgotten);
              } else {
                reject(unavailable(failed));
              }
            };
            if (dead === undefined) {
              post({ type: 'prune', rule });
            } else {
              onPruned(0, dead.message);
            }
          }),
      );
      pruning = turn.catch(() => 0);
      return turn;
    },
    // One process per file: nobody else appends.
    onWake: () => () => undefined,
    onReset: () => () => undefined,
    async close() {
      checkpointer.postMessage('close');
      await new Promise((resolve) => checkpointer.once('exit', resolve));
      reader.close();
      if (dead === undefined) {
        post({ type: 'close' });
      }
      await closed;
      await knex.destroy();
      unlock();
    },
  };
}

function startThread(name: string, path: string): Worker {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new Worker(new URL(`./${name}.${extension}`, import.meta.url), { workerData: { path } });
}

function ready(writer: Worker): Promise<number> {
  return new Promise((resolve, reject) => {
    writer.once('error', reject);
    writer.once('message', (reply: WriterReply) => {
      writer.off('error', reject);
      if (reply.type === 'ready') {
        resolve(reply.head);
      } else {
        reject(new Error(`the writer thread began with ${reply.type}`));
      }
    });
  });
}

function readStart(path: string): { epoch: string; indexed: number; unindexed: [number, string][] } {
  const db = new Database(path, { readonly: true });
  try {
    const log = db.prepare<[], { epoch: string; indexed: number }>('select epoch, indexed from log').get();
    if (log === undefined) {
      throw new LastseenError(
        'ERR_STORE_UNAVAILABLE',
        `${path} has no row in table log: it is not a whole lastseen database`,
      );
    }
    const unindexed = db
      .prepare<[number], [number, string]>(
        'select position, access_id from events where position > ? order by position',
      )
      .raw()
      .all(log.indexed);
    return { ...log, unindexed };
  } finally {
    db.close();
  }
}

function outcomeOf(
  request: AppendRequest,
  refusal: Refusal | undefined,
  { positions, versions, isDuplicate }: ReceiptColumns,
  from: number,
): AppendOutcome {
  if (refusal !== undefined) {
    if ('failed' in refusal) {
      return { refused: unavailable(refusal.failed) };
    }
    return {
      refused: 'changed' in refusal ? changedMeanwhile() : conflict(request, refusal.conflict.index),
    };
  }
  return {
    receipts: request.events.map((_, index) => ({
      position: positions[from + index] ?? 0,
      version: versions[from + index] ?? 0,
      duplicate: isDuplicate[from + index] === 1,
    })),
  };
}

function unavailable(reason: string): LastseenError {
  return new LastseenError(
    'ERR_STORE_UNAVAILABLE',
    `the store failed (${reason}): nothing was appended, try again later`,
  );
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
