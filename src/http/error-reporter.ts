/** Counts each error that a user receives, on every transport, and logs the unexpected ones. */
import { type ErrorCode, LastseenError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Random } from '../runtime.ts';

/** Reports errors. */
export interface ErrorReporter {
  /**
   * Returns the error for the user. An expected error is returned as it is. An unexpected error is logged
   * with an id, and the returned error contains the id.
   */
  report(error: unknown): LastseenError;
  /** Number of reported errors by code since the process started. */
  readonly counts: ReadonlyMap<ErrorCode, number>;
}

/** Creates a reporter. */
export function createErrorReporter(logger: Logger, random: Random): ErrorReporter {
  const counts = new Map<ErrorCode, number>();

  function toUserError(error: unknown): LastseenError {
    if (error instanceof LastseenError) {
      if (error.cause !== undefined) {
        const cause = error.cause instanceof Error ? error.cause.message : 'unknown';
        logger.warn({ code: error.code, cause }, error.message);
      }
      return error;
    }
    const id = random.uuid();
    logger.error({ id, err: error }, 'unexpected error');
    return new LastseenError('ERR_INTERNAL', `the server failed: its log contains the error with id ${id}`);
  }

  return {
    counts,
    report(error) {
      const userError = toUserError(error);
      counts.set(userError.code, (counts.get(userError.code) ?? 0) + 1);
      return userError;
    },
  };
}
