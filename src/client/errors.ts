/** What the SDK throws. `code` is stable; a message never holds a token. */

export type ClientErrorCode =
  /** No valid token can be had now. */
  | 'ERR_TOKEN_UNAVAILABLE'
  /** An issuer failed. */
  | 'ERR_TOKEN_REQUEST'
  /** More waits than may. */
  | 'ERR_BUFFER_FULL'
  | 'ERR_CLOSED'
  /** Verdicts on a cursor: `floor` is the lowest one that would work. */
  | 'ERR_CURSOR_MALFORMED'
  | 'ERR_CURSOR_TOO_OLD'
  | 'ERR_CURSOR_AHEAD'
  | 'ERR_CURSOR_EPOCH'
  /** The access_id was dropped by an administrator. */
  | 'ERR_DROPPED'
  /** Versions of a feed did not follow one another: something between us and the log is broken. */
  | 'ERR_GAP'
  /** The server refused, for good: `status` and `serverCode` say why. */
  | 'ERR_REFUSED'
  /** The server could not be reached, or did not take it, for as long as was allowed. */
  | 'ERR_UNREACHABLE';

export interface ClientErrorDetails {
  /** HTTP status of a refusal. */
  readonly status?: number;
  /** `code` of the server's problem, such as `ERR_ID_CONFLICT`. */
  readonly serverCode?: string;
  /** Of a verdict: the lowest cursor that would work. */
  readonly floor?: string;
  readonly accessId?: string;
  readonly cause?: unknown;
}

export class ClientError extends Error {
  override readonly name: string = 'ClientError';
  readonly code: ClientErrorCode;
  readonly status: number | undefined;
  readonly serverCode: string | undefined;
  readonly floor: string | undefined;
  readonly accessId: string | undefined;

  constructor(code: ClientErrorCode, message: string, details: ClientErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.status = details.status;
    this.serverCode = details.serverCode;
    this.floor = details.floor;
    this.accessId = details.accessId;
  }
}
