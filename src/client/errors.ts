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
   * The log no longer has the history of the cursor: a failover, a snapshot or a restore lost events. `unproven` names
   * the events that the client saw and that the log cannot prove. `common` is the cursor from which to continue.
   */
  | 'ERR_CURSOR_DIVERGED'
  /** The cursor is of a log that was replaced, for example by a restore. `floor` is the lowest valid cursor. */
  | 'ERR_CURSOR_EPOCH'
  /** An administrator dropped the access_id. */
  | 'ERR_DROPPED'
  /** A version does not follow the one before: something between the SDK and the log loses or repeats events. */
  | 'ERR_GAP'
  /** The server refused, and a retry cannot help. `status` and `serverCode` say why. */
  | 'ERR_REFUSED'
  /** The server did not accept the events within the time allowed. */
  | 'ERR_UNREACHABLE';

/** Versions of a feed that the client saw and that the log can no longer prove. */
export interface UnprovenVersions {
  /** The first of them; `undefined` if it is not known: each event after `error.floor` may be one of them. */
  readonly from: number | undefined;
  /** The last version that the loop has taken; `undefined` if it is not known. */
  readonly through: number | undefined;
}

export interface ClientErrorDetails {
  /** HTTP status of the refusal. */
  readonly status?: number | undefined;
  /** Code of the server's error, such as `ERR_ID_CONFLICT`. */
  readonly serverCode?: string | undefined;
  /** Of an ERR_CURSOR_…: the lowest valid cursor. */
  readonly floor?: string | undefined;
  /** Of an ERR_CURSOR_DIVERGED: the last cursor that the client and the log have in common, if it is known. */
  readonly common?: string | undefined;
  /**
   * How `common` is known. `term`: the log knows where the two histories part. `trail`: it is the newest valid cursor of
   * those that the client sent, and the histories may share more.
   */
  readonly commonBy?: 'term' | 'trail' | undefined;
  /** Of an ERR_CURSOR_DIVERGED. */
  readonly unproven?: UnprovenVersions | undefined;
  readonly accessId?: string | undefined;
  readonly cause?: unknown;
}

/** An error of the SDK. */
export class ClientError extends Error {
  override readonly name: string = 'ClientError';
  readonly code: ClientErrorCode;
  readonly status: number | undefined;
  readonly serverCode: string | undefined;
  readonly floor: string | undefined;
  readonly common: string | undefined;
  readonly commonBy: 'term' | 'trail' | undefined;
  readonly unproven: UnprovenVersions | undefined;
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
