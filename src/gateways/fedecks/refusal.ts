/** Refusals of the protocol. On the wire each is an empty 403. The type and the info are for the operator. */
import type { Problem } from '../../http/problem.ts';

/** The type of a refusal. */
export type DeviceErrorType = 'invalid_auth_header' | 'invalid_token' | 'authentication_failed';

/** The value of the header `x-fedecks-error`. */
export type DeviceErrorHint = DeviceErrorType | 'token_expired' | 'rate_limited';

/** The details of a refusal. */
export interface DeviceRefusalDetails {
  /** The device id in the header; `null` if the header contains none. */
  readonly deviceId: string | null;
  readonly info?: string;
  /** Default: the type. */
  readonly hint?: DeviceErrorHint;
  readonly retryAfterSeconds?: number | undefined;
}

/** The refusal of a connection. */
export class DeviceRefusal extends Error {
  override readonly name = 'DeviceRefusal';
  /** The device id in the header; `null` if the header contains none. */
  readonly deviceId: string | null;
  readonly type: DeviceErrorType;
  readonly info: string;
  readonly hint: DeviceErrorHint;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    type: DeviceErrorType,
    { deviceId, info = '', hint = type, retryAfterSeconds }: DeviceRefusalDetails,
  ) {
    super(`${type} ${info}`);
    this.deviceId = deviceId;
    this.type = type;
    this.info = info;
    this.hint = hint;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Converts a refusal to an empty 403. A client can read the reason in `x-fedecks-error`. */
export function refusalProblem({ hint, retryAfterSeconds }: DeviceRefusal): Problem {
  const retry = retryAfterSeconds === undefined ? {} : { 'Retry-After': String(retryAfterSeconds) };
  return { status: 403, headers: { 'x-fedecks-error': hint, ...retry }, body: '' };
}
