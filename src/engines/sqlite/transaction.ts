/**
 * The transactions of the writer's connection. A transaction that fails before its COMMIT is rolled back: nothing of it is
 * in the file. A COMMIT that fails has no known outcome: its frames can be in the write-ahead log, and a later start would
 * read them (G14). The connection is then not used again until `writer-file.ts` has checked the file.
 */
import type { Database } from 'better-sqlite3';

/** The COMMIT failed: it is not known whether the transaction is in the file. */
export class CommitFailed extends Error {
  constructor(cause: unknown) {
    super(messageOf(cause), { cause });
  }
}

export interface Transactions {
  /**
   * Runs `work` in a transaction that holds the write lock from its start.
   * @throws CommitFailed; any other error means that nothing was written
   */
  run(work: () => void): void;
  /** True after a COMMIT or a ROLLBACK failed: the connection must be replaced. */
  readonly isDoubtful: boolean;
}

export function createTransactions(db: Database): Transactions {
  const begin = db.prepare('begin immediate');
  const commit = db.prepare('commit');
  const rollback = db.prepare('rollback');
  let isDoubtful = false;

  function undo(): void {
    if (!db.inTransaction) {
      return;
    }
    try {
      rollback.run();
    } catch {
      // Without its COMMIT nothing of the transaction is valid, but this connection cannot begin another one.
      isDoubtful = true;
    }
  }

  return {
    run(work) {
      begin.run();
      try {
        work();
      } catch (error) {
        undo();
        throw error;
      }
      try {
        commit.run();
      } catch (error) {
        isDoubtful = true;
        undo();
        throw new CommitFailed(error);
      }
    },
    get isDoubtful() {
      return isDoubtful;
    },
  };
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
