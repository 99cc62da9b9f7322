/** Deletes the events that fall outside the retention rule, once a minute. */
import { LastseenError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Runtime } from '../runtime.ts';
import type { Log } from './log.ts';
import type { PruneRule } from './store.ts';

/** The retention rule. Without an age and a count, the log keeps every event. */
export interface Retention {
  /** The server deletes events older than this. */
  readonly maxAgeMs?: number;
  /** Number of latest events to keep of each access_id. */
  readonly keepPerAccessId?: number;
}

const PRUNE_INTERVAL_MS = 60_000;

const AGE_UNITS_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Parses `30d`, `1000/access_id`, or both separated by a comma. Returns `undefined` for invalid text. */
export function parseRetention(text: string): Retention | undefined {
  let retention: Retention = {};
  for (const part of text.split(',').map((piece) => piece.trim())) {
    const age = /^([1-9]\d{0,8})([smhdw])$/.exec(part);
    const count = /^([1-9]\d{0,8})\/access_id$/.exec(part);
    if (age !== null) {
      retention = { ...retention, maxAgeMs: Number(age[1]) * (AGE_UNITS_MS[age[2] ?? ''] ?? 0) };
    } else if (count !== null) {
      retention = { ...retention, keepPerAccessId: Number(count[1]) };
    } else if (part !== '') {
      return undefined;
    }
  }
  return retention;
}

/** Returns the rule, or `undefined` if the log keeps every event. */
export function pruneRuleOf({ maxAgeMs, keepPerAccessId }: Retention): PruneRule | undefined {
  if (maxAgeMs === undefined && keepPerAccessId === undefined) {
    return undefined;
  }
  return {
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
    ...(keepPerAccessId === undefined ? {} : { keepPerAccessId }),
  };
}

/** The clock of the database has jumped, so the store deleted no event by its age. */
export class RetentionRefused extends LastseenError {
  /** Number of events deleted by the other conditions of the rule. */
  readonly pruned: number;

  constructor(reason: string, pruned: number) {
    super('ERR_REQUEST_INVALID', reason);
    this.pruned = pruned;
  }
}

/** The log and its retention rule. */
export interface RetentionOptions {
  readonly log: Pick<Log, 'prune'>;
  readonly retention: Retention;
  readonly logger: Logger;
  readonly runtime: Pick<Runtime, 'timers'>;
}

/** Starts pruning. Returns a function that stops it and resolves after the current step has ended. */
export function startRetention({ log, retention, logger, runtime }: RetentionOptions): () => Promise<void> {
  const rule = pruneRuleOf(retention);
  if (rule === undefined) {
    return () => Promise.resolve();
  }
  const stop = new AbortController();
  let running: Promise<void> | undefined;
  let isRefused = false;

  function report(pruned: number): void {
    if (pruned > 0) {
      logger.info({ pruned }, 'retention deleted events');
    }
  }

  async function prune(rule: PruneRule): Promise<void> {
    try {
      report(await log.prune(rule, stop.signal));
      isRefused = false;
    } catch (error) {
      if (!(error instanceof RetentionRefused)) {
        logger.error({ err: error }, 'retention failed; the next attempt starts in 60 s');
        return;
      }
      report(error.pruned);
      if (!isRefused) {
        logger.error(`retention by age is stopped: ${error.message}`);
      }
      isRefused = true;
    }
  }

  const tick = (): void => {
    running ??= prune(rule).finally(() => (running = undefined));
  };
  const cancel = runtime.timers.every(PRUNE_INTERVAL_MS, tick);
  tick();
  return async () => {
    cancel();
    stop.abort();
    await running;
  };
}
