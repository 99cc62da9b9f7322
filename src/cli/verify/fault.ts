/** Ends a check: something in the log does not fit. The message names the position. */
export class LogFault extends Error {
  override readonly name = 'LogFault';
  readonly position: number;

  constructor(position: number, message: string) {
    super(`position ${position}: ${message}`);
    this.position = position;
  }
}
