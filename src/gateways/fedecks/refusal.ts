/** The refusals of this protocol: each is an empty 403 on the wire, and has a type and an info for the operator. */
import type { Problem } from '../../http/problem.ts';

export type DeviceErrorType = 'invalid_auth_header' | 'invalid_token' | 'authentication_failed';

/** What the header `x-fedecks-error` says, beside the types. */
export type DeviceErrorHint = DeviceErrorType | 'token_expired' | 'rate_limited';

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
  /** As the header says; `null` where it does not. */
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

/** 403 without a body; a client that wants to know why reads `x-fedecks-error`. */
export function refusalProblem({ hint, retryAfterSeconds }: DeviceRefusal): Problem {
  const retry = retryAfterSeconds === undefined ? {} : { 'Retry-After': String(retryAfterSeconds) };
  return { status: 403, headers: { 'x-fedecks-error': hint, ...retry }, body: '' };
}
