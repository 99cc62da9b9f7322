/**
 * The nodes over one log. Each node has a row in `nodes` and says every two seconds that it lives; a question is a counter
 * that the asker raises, the answer a text that each node writes under the number of the question.
 */
import type pg from 'pg';
import type { Peers } from '../../peers.ts';
import { type Runtime, sleep } from '../../runtime.ts';
import { createShown } from './shared-entries.ts';

const ALIVE_MS = 2_000;

/** A node that has said nothing for so long is not asked. */
const GONE_SECONDS = 10;
const ASK_MS = 3_000;
const ASK_PAUSE_MS = 20;

export interface PostgresPeers extends Peers {
  /** Looks whether somebody asks, and answers, and what others show. */
  look(): void;
  stop(): Promise<void>;
}

interface NodeRow {
  readonly node_id: string;
  readonly asked: number;
  readonly answered: number;
  readonly answer: string | null;
}

export function startPeers({
  pool,
  runtime,
  onError,
}: {
  readonly pool: pg.Pool;
  readonly runtime: Runtime;
  readonly onError: (error: unknown) => void;
}): PostgresPeers {
  const { clock, timers, random } = runtime;
  const nodeId = random.uuid();
  let answerNow: () => string = () => '[]';
  let isAnswering = false;
  let isStopped = false;
  const shown = createShown({ pool, nodeId, runtime, goneSeconds: GONE_SECONDS, onError });

  async function alive(): Promise<void> {
    await pool.query(
      `insert into nodes (node_id, seen_at) values ($1, now())
       on conflict (node_id) do update set seen_at = excluded.seen_at`,
      [nodeId],
    );
    shown.look();
    await answer();
  }

  async function answer(): Promise<void> {
    if (isAnswering || isStopped) {
      return;
    }
    isAnswering = true;
    try {
      const found = await pool.query<NodeRow>(
        'select node_id, asked, answered from nodes where node_id = $1 and asked > answered',
        [nodeId],
      );
      const question = found.rows[0];
      if (question !== undefined) {
        await pool.query('update nodes set answered = $2, answer = $3 where node_id = $1', [
          nodeId,
          question.asked,
          answerNow(),
        ]);
      }
    } finally {
      isAnswering = false;
    }
  }

  const quietly = (work: Promise<void>): void => {
    work.catch((error: unknown) => {
      if (!isStopped) {
        onError(error);
      }
    });
  };
  const stopTimer = timers.every(ALIVE_MS, () => {
    quietly(alive());
  });
  quietly(pool.query(`delete from nodes where seen_at < now() - interval '1 day'`).then(alive));

  return {
    onAsk(how) {
      answerNow = how;
    },
    look() {
      quietly(answer());
      shown.look();
    },
    show: shown.show,
    onShown: shown.onShown,
    async ask() {
      await alive();
      const asked = await pool.query<NodeRow>(
        `update nodes set asked = asked + 1 where seen_at > now() - make_interval(secs => $1)
         returning node_id, asked`,
        [GONE_SECONDS],
      );
      await pool.query('notify lastseen_ask');
      const wanted = new Map(asked.rows.map((row) => [row.node_id, row.asked]));
      const deadline = clock.steady() + ASK_MS;
      for (;;) {
        const found = await pool.query<NodeRow>(
          'select node_id, answered, answer from nodes where node_id = any($1)',
          [[...wanted.keys()]],
        );
        const answers = found.rows.filter((row) => row.answered >= (wanted.get(row.node_id) ?? 0));
        if (answers.length >= wanted.size || clock.steady() > deadline) {
          return answers.map((row) => row.answer ?? '[]');
        }
        await sleep(timers, ASK_PAUSE_MS);
      }
    },
    async stop() {
      isStopped = true;
      stopTimer();
      shown.stop();
      await pool.query('delete from nodes where node_id = $1', [nodeId]).catch(() => undefined);
    },
  };
}
