/** A refused cursor in plain words, and the places from which a reader can continue. */
import type { VNode } from 'preact';
import { ClientError, type ClientErrorCode, type UnprovenVersions } from '../client/index.ts';
import { count } from './format.ts';

export interface VerdictProps {
  readonly error: Error | undefined;
  /** Follows the feed again, after a cursor. */
  readonly onContinue: (cursor: string) => void;
}

const MEANINGS: Readonly<Partial<Record<ClientErrorCode, string>>> = {
  ERR_CURSOR_TOO_OLD: 'Retention has deleted events after this cursor. They cannot be read any more.',
  ERR_CURSOR_EPOCH: 'This cursor is from another log: the log was reset, or this is another server.',
  ERR_CURSOR_AHEAD: 'This cursor is later than the last event: this log did not give it out.',
  ERR_CURSOR_MALFORMED: 'This text is not a cursor.',
  ERR_CURSOR_DIVERGED:
    'The log has lost events, for example in a failover or because a backup was restored, and may have others in their place.',
};

export function VerdictNotice({ error, onContinue }: VerdictProps): VNode | null {
  if (!(error instanceof ClientError) || error.floor === undefined) {
    return null;
  }
  const { code, common, commonBy, floor, unproven } = error;
  return (
    <div class="notice" role="group" aria-label="Refused cursor">
      <p>{MEANINGS[code] ?? 'The server cannot continue from this cursor.'}</p>
      {code === 'ERR_CURSOR_DIVERGED' ? (
        <p>
          {unprovenText(unproven, common)}
          {commonBy === 'trail' ? ' Some of them may be the same in the log: reading shows them again.' : ''}
        </p>
      ) : null}
      <p class="row">
        {common === undefined ? null : (
          <button
            type="button"
            class="primary"
            onClick={() => {
              onContinue(common);
            }}
          >
            Continue from the last common event
          </button>
        )}
        <button
          type="button"
          onClick={() => {
            onContinue(floor);
          }}
        >
          Read from the oldest event
        </button>
      </p>
    </div>
  );
}

function unprovenText(unproven: UnprovenVersions | undefined, common: string | undefined): string {
  const { from, through } = unproven ?? {};
  if (from !== undefined && through !== undefined) {
    return from === through
      ? `Version ${count(from)} must count as not having happened.`
      : `Versions ${count(from)} to ${count(through)} must count as not having happened.`;
  }
  if (from !== undefined) {
    return `What was read from version ${count(from)} on must count as not having happened.`;
  }
  return common === undefined
    ? 'The log cannot prove any of the events that were read.'
    : 'What was read after the last common event must count as not having happened.';
}
