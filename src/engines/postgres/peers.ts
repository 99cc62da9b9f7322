/**
 * The nodes over one log. Each node has a row in `nodes` and updates it every 2 s. A node asks all others by raising a
 * counter in their rows; each node writes its answer, a text, beside the counter's value.
 */
import type pg from 'pg';
import type { Peers } from '../../peers.ts';
import { type Runtime, sleep } from '../../runtime.ts';
import { createSharedEntries } from './shared-entries.ts';

const HEARTBEAT_MS = 2_000;

/** A node counts as dead when its row is older. */
const EXPIRE_AFTER_SECONDS = 10;
const ASK_TIMEOUT_MS = 3_000;
const ASK_PAUSE_MS = 20;

/** Until the server has deleted the row of a node that stops. */
const GOODBYE_MS = 2_000;

export interface PostgresPeers extends Peers {
  readonly nodeId: string;
  /** Answers if another node asks, and reads what others share. */
  refresh(): void;
  /** Writes again what this node shares: another server answers, which may lack the last of it. */
  shareAgain(): void;
  stop(): Promise<void>;
}

interface NodeRow {
  readonly node_id: string;
  readonly asked: number;
  readonly answered: number;
  readonly answer: string | null;
}

export interface PeersOptions {
  readonly pool: pg.Pool;
  readonly runtime: Runtime;
  readonly onError: (error: unknown) => void;
}

export function startPeers({ pool, runtime, onError }: PeersOptions): PostgresPeers {
  const { clock, timers, random } = runtime;
  const nodeId = random.uuid();
  let createAnswer: () => string = () => '[]';
  let isAnswering = false;
  let isStopped = false;
  const entries = createSharedEntries({
    pool,
    nodeId,
    runtime,
    expireAfterSeconds: EXPIRE_AFTER_SECONDS,
    onError,
  });

  async function markAlive(): Promise<void> {
    await pool.query(
      `insert into nodes (node_id, seen_at) values ($1, now())
       on conflict (node_id) do update set seen_at = excluded.seen_at`,
      [nodeId],
    );
    entries.refresh();
    await answerQuestion();
  }

  async function answerQuestion(): Promise<void> {
    if (isAnswering || isStopped) {
      return;
    }
    isAnswering = true;
    try {
      const { rows } = await pool.query<NodeRow>(
        'select node_id, asked, answered from nodes where node_id = $1 and asked > answered',
        [nodeId],
      );
      const [row] = rows;
      if (row !== undefined) {
        await pool.query('update nodes set answered = $2, answer = $3 where node_id = $1', [
          nodeId,
          row.asked,
          createAnswer(),
        ]);
      }
    } finally {
      isAnswering = false;
    }
  }

  const reportFailure = (work: Promise<void>): void => {
    work.catch((error: unknown) => {
      if (!isStopped) {
        onError(error);
      }
    });
  };
  const stopHeartbeat = timers.every(HEARTBEAT_MS, () => {
    reportFailure(markAlive());
  });
  reportFailure(pool.query(`delete from nodes where seen_at < now() - interval '1 day'`).then(markAlive));

  return {
    nodeId,
    answerWith(create) {
      createAnswer = create;
    },
    refresh() {
      reportFailure(answerQuestion());
      entries.refresh();
    },
    share: entries.share,
    shareAgain: entries.shareAgain,
    onShared: entries.onShared,
    async askAll() {
      await markAlive();
      const asked = await pool.query<NodeRow>(
        `update nodes set asked = asked + 1 where seen_at > now() - make_interval(secs => $1)
         returning node_id, asked`,
        [EXPIRE_AFTER_SECONDS],
      );
      await pool.query('notify lastseen_ask');
      const wanted = new Map(asked.rows.map((row) => [row.node_id, row.asked]));
      const deadline = clock.steady() + ASK_TIMEOUT_MS;
      for (;;) {
        const { rows } = await pool.query<NodeRow>(
          'select node_id, answered, answer from nodes where node_id = any($1)',
          [[...wanted.keys()]],
        );
        const answers = rows.filter((row) => row.answered >= (wanted.get(row.node_id) ?? 0));
        if (answers.length >= wanted.size || clock.steady() > deadline) {
          return answers.map((row) => row.answer ?? '[]');
        }
        await sleep(timers, ASK_PAUSE_MS);
      }
    },
    async stop() {
      isStopped = true;
      stopHeartbeat();
      entries.stop();
      const goodbye = { text: 'delete from nodes where node_id = $1', query_timeout: GOODBYE_MS };
      await pool.query(goodbye, [nodeId]).catch(() => undefined);
    },
  };
}
