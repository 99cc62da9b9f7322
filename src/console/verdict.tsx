/** A refused cursor in plain words: why, what it means for the events on the page, and where reading can continue. */
import type { VNode } from 'preact';
import { ClientError } from '../client/index.ts';
import { count } from './format.ts';

const REASONS: Readonly<Record<string, string>> = {
  ERR_CURSOR_DIVERGED:
    'The log has lost events that this cursor stands for, for example in a failover or by an older copy of the database.',
  ERR_CURSOR_TOO_OLD: 'Retention has deleted events after this cursor.',
  ERR_CURSOR_AHEAD: 'The cursor is later than the end of the log.',
  ERR_CURSOR_EPOCH: 'The cursor belongs to another log, or the log was reset.',
  ERR_CURSOR_MALFORMED: 'The text is no cursor of this server.',
};

/** Whether the error is a verdict on a cursor. */
export function isVerdict(error: Error | undefined): error is ClientError {
  return error instanceof ClientError && REASONS[error.code] !== undefined;
}

export interface VerdictNoticeProps {
  readonly verdict: ClientError;
  /** Begins to read after a cursor. */
  readonly onContinue: (cursor: string) => void;
}

export function VerdictNotice({ verdict, onContinue }: VerdictNoticeProps): VNode {
  const { code, common, commonBy, floor } = verdict;
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>{REASONS[code] ?? verdict.message}</strong>
        <code>{code}</code>
      </p>
      {code === 'ERR_CURSOR_DIVERGED' ? <p>{describeLoss(verdict)}</p> : null}
      <div class="row">
        {common === undefined ? null : (
          <button
            type="button"
            class="primary"
            title={
              commonBy === 'term'
                ? 'The histories part exactly there'
                : 'The newest place of this page that the log still has'
            }
            onClick={() => {
              onContinue(common);
            }}
          >
            Continue from the common place
          </button>
        )}
        {floor === undefined ? null : (
          <button
            type="button"
            onClick={() => {
              onContinue(floor);
            }}
          >
            Read from the floor
          </button>
        )}
      </div>
    </div>
  );
}

/** Which events on the page did not happen. */
function describeLoss({ common, unproven, accessId }: ClientError): string {
  if (unproven !== undefined) {
    const { from, through } = unproven;
    const versions =
      from === through ? `Version ${count(from)}` : `The versions ${count(from)} to ${count(through)}`;
    return `${versions} of ${accessId ?? 'this feed'} did not happen, as far as the log can prove. The common place is just before.`;
  }
  return common === undefined
    ? 'The server does not know which events are lost. Events that were read before may not have happened.'
    : 'Events after the common place did not happen, as far as the log can prove.';
}
