/** The errors of the SDK. Branch on `code`, which is stable. No message contains a token. */

export type ClientErrorCode =
  /** The token source has no valid token now. */
  | 'ERR_TOKEN_UNAVAILABLE'
  /** A request for a token failed. */
  | 'ERR_TOKEN_REQUEST'
  /** The publisher already has `maxBufferedEvents` waiting events. */
  | 'ERR_BUFFER_FULL'
  /** The publisher is closed. */
  | 'ERR_CLOSED'
  /** The text is not a cursor of the server. */
  | 'ERR_CURSOR_MALFORMED'
  /** Retention has deleted events after the cursor. `floor` is the lowest valid cursor. */
  | 'ERR_CURSOR_TOO_OLD'
  /** The cursor is ahead of the log. `floor` is the lowest valid cursor. */
  | 'ERR_CURSOR_AHEAD'
  /**
   * The log no longer has the history of the cursor: it has lost events. `floor` is the lowest valid cursor, `common` the
   * last cursor of a history that the log still has, if it is known.
   */
  | 'ERR_CURSOR_DIVERGED'
  /** The cursor is of a log that was reset, or of another log. `floor` is the lowest valid cursor. */
  | 'ERR_CURSOR_EPOCH'
  /** An administrator dropped the access_id. */
  | 'ERR_DROPPED'
  /** A version does not follow the one before: something between the SDK and the log loses or repeats events. */
  | 'ERR_GAP'
  /** The server refused, and a retry cannot help. `status` and `serverCode` say why. */
  | 'ERR_REFUSED'
  /** The server did not accept the events within the time allowed. */
  | 'ERR_UNREACHABLE';

/** Versions of one feed, both ends included. */
export interface VersionRange {
  readonly from: number;
  readonly through: number;
}

export interface ClientErrorDetails {
  /** HTTP status of the refusal. */
  readonly status?: number | undefined;
  /** Code of the server's error, such as `ERR_ID_CONFLICT`. */
  readonly serverCode?: string | undefined;
  /** Of an ERR_CURSOR_…: the lowest valid cursor. */
  readonly floor?: string | undefined;
  /** Of an ERR_CURSOR_DIVERGED: the last cursor that the reader's history and the log are known to have in common. */
  readonly common?: string | undefined;
  /**
   * How `common` is known. `term`: the two histories part exactly there. `trail`: it is the newest valid cursor of the
   * trail, and the two histories may have later events in common.
   */
  readonly commonBy?: 'term' | 'trail' | undefined;
  /**
   * Of an ERR_CURSOR_DIVERGED: the versions after `common` that the reader has seen. The log no longer proves them: treat
   * them as not having happened. Undefined if the version at `common` is not known.
   */
  readonly unproven?: VersionRange | undefined;
  readonly accessId?: string | undefined;
  readonly cause?: unknown;
}

/** An error of the SDK. */
export class ClientError extends Error implements ClientErrorDetails {
  override readonly name: string = 'ClientError';
  readonly code: ClientErrorCode;
  readonly status: number | undefined;
  readonly serverCode: string | undefined;
  readonly floor: string | undefined;
  readonly common: string | undefined;
  readonly commonBy: 'term' | 'trail' | undefined;
  readonly unproven: VersionRange | undefined;
  readonly accessId: string | undefined;

  constructor(code: ClientErrorCode, message: string, details: ClientErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.status = details.status;
    this.serverCode = details.serverCode;
    this.floor = details.floor;
    this.common = details.common;
    this.commonBy = details.commonBy;
    this.unproven = details.unproven;
    this.accessId = details.accessId;
  }
}
