/** The errors of an append, with the same messages on both engines. */
import { LastseenError, quote } from '../errors.ts';
import type { AppendRequest } from '../log/store.ts';

/** `index` is the place of the event in its batch, or −1 when the batch's key is in conflict. */
export function conflict(request: AppendRequest, index: number): LastseenError {
  if (index < 0) {
    const message = 'the Idempotency-Key was used before with another batch: nothing was appended';
    return new LastseenError('ERR_ID_CONFLICT', message);
  }
  const detail = `the id ${quote(request.events[index]?.id)} is taken in this access_id by an event with other content`;
  const faults = [{ pointer: `/${index}/id`, detail }];
  return new LastseenError('ERR_ID_CONFLICT', `nothing was appended: /${index}/id: ${detail}`, {
    faults,
  });
}

/** A row that the request must change is not as expected. */
export function changedMeanwhile(): LastseenError {
  return new LastseenError(
    'ERR_CHANGED_MEANWHILE',
    'another request has changed the same record meanwhile: read it again, then retry',
  );
}

/** The database did not append the events. The message does not contain its address. */
export function storeFailed(reason: string, cause?: unknown): LastseenError {
  return new LastseenError(
    'ERR_STORE_UNAVAILABLE',
    `the store failed (${reason}): nothing was appended, try again later`,
    { cause },
  );
}

/** The database failed while it committed. The message does not contain its address. */
export function outcomeUnknown(reason: string, cause?: unknown): LastseenError {
  return new LastseenError(
    'ERR_OUTCOME_UNKNOWN',
    `the store failed while it committed (${reason}), and it is not known whether the events were appended: push again with the same ids or Idempotency-Key`,
    { cause },
  );
}
