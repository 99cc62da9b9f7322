/** What the SDK throws. `code` is stable; a message never holds a token. */

export type ClientErrorCode = 'ERR_TOKEN_UNAVAILABLE' | 'ERR_TOKEN_REQUEST';

export class ClientError extends Error {
  override readonly name: string = 'ClientError';
  readonly code: ClientErrorCode;

  constructor(code: ClientErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
