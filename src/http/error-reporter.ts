/** Errors on their way to a user, on every transport: counted, and logged if nobody expected them. */
import { type ErrorCode, LastseenError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Random } from '../runtime.ts';

export interface ErrorReporter {
  /** The error for the user: an expected one as it is, any other is logged under an id, which the user sees. */
  report(error: unknown): LastseenError;
  /** How often each code was reported since the server began. */
  readonly counts: ReadonlyMap<ErrorCode, number>;
}

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
    return new LastseenError('ERR_INTERNAL', `the server failed; the id of the failure in its log is ${id}`);
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
