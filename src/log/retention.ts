/** Keeps the log as short as the operator wants it: looks each minute for what may be forgotten. */
import type { Retention } from '../config.ts';
import type { Logger } from '../logger.ts';
import type { Runtime } from '../runtime.ts';
import type { Log } from './log.ts';
import type { PruneRule } from './store.ts';

const EVERY_MS = 60_000;

/** The rule of this moment, or `undefined` when everything is kept. */
export function pruneRuleOf(retention: Retention, now: number): PruneRule | undefined {
  const { maxAgeMs, keepPerAccessId } = retention;
  if (maxAgeMs === undefined && keepPerAccessId === undefined) {
    return undefined;
  }
  return {
    ...(maxAgeMs === undefined ? {} : { recordedBefore: now - maxAgeMs }),
    ...(keepPerAccessId === undefined ? {} : { keepPerAccessId }),
  };
}

export interface RetentionOptions {
  readonly log: Log;
  readonly retention: Retention;
  readonly logger: Logger;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
}

/** Returns how to stop: it resolves when nothing is under way. */
export function startRetention({ log, retention, logger, runtime }: RetentionOptions): () => Promise<void> {
  let running: Promise<void> | undefined;
  if (pruneRuleOf(retention, 0) === undefined) {
    return () => Promise.resolve();
  }

  async function prune(): Promise<void> {
    const rule = pruneRuleOf(retention, runtime.clock.now());
    if (rule === undefined) {
      return;
    }
    try {
      const forgotten = await log.prune(rule);
      if (forgotten > 0) {
        logger.info({ forgotten }, 'retention');
      }
    } catch (error) {
      logger.error({ err: error }, 'retention failed, and is tried again in a minute');
    }
  }

  const tick = (): void => {
    running ??= prune().finally(() => (running = undefined));
  };
  const stopTimer = runtime.timers.every(EVERY_MS, tick);
  tick();
  return async () => {
    stopTimer();
    await running;
  };
}
