/**
 * Decides before the upgrade who may open a device socket, by the decision table of the protocol. It records
 * each refusal.
 */
import type { IncomingMessage } from 'node:http';
import { LastseenError } from '../../errors.ts';
import { type Problem, problemOf } from '../../http/problem.ts';
import type { Principal } from '../../identity/principal.ts';
import { type DeviceAuth, readAuth } from './auth.ts';
import { boundCallback } from './callback.ts';
import type { DeviceOwner, DeviceService } from './device-service.ts';
import type { FedecksPorts } from './needs.ts';
import { DeviceRefusal, refusalProblem } from './refusal.ts';

/** An admitted device. */
export interface Admitted<O> {
  readonly deviceId: string;
  readonly owner: O;
}

/** Admission for one path. */
export interface DeviceAdmission<O> {
  /**
   * Authenticates an upgrade request.
   * @throws DeviceRefusal, and the errors of the origin check and the connection limits
   */
  admit(request: IncomingMessage): Promise<Admitted<O>>;
  /** Converts an error to a response. */
  refusalOf(error: unknown): Problem;
}

/** Creates the admission of a service. */
export function createDeviceAdmission<O extends DeviceOwner>(
  service: DeviceService<O>,
  { guards, limits, admission, errors, logger, runtime }: FedecksPorts,
): DeviceAdmission<O> {
  /** Number of refusals by hint. Hints are a closed set, so the map is bounded. */
  const counts = new Map<string, number>();

  async function decide(request: IncomingMessage): Promise<Admitted<O>> {
    const auth = readAuth(request.headersDistinct['x-fedecks-auth']?.[0]);
    const { deviceId } = auth;
    const owner =
      auth.token === undefined ? await loginByCredentials(auth, request) : await resumeByToken(auth);
    requireCapacity(owner.principal, deviceId);
    return { deviceId, owner };
  }

  function requireCapacity({ subject, accessIds }: Principal, deviceId: string): void {
    admission.requirePrincipal(subject);
    if (accessIds.includes(deviceId)) {
      admission.requireReader(deviceId);
    }
  }

  /** A token takes precedence over credentials in the same header. */
  async function resumeByToken({ deviceId, token = null }: DeviceAuth): Promise<O> {
    const opened = await service.tokens.open(token);
    if (!opened.isOwn) {
      throw new DeviceRefusal('invalid_token', { deviceId });
    }
    if (opened.isExpired) {
      throw new DeviceRefusal('invalid_token', { deviceId, hint: 'token_expired' });
    }
    if (opened.deviceId !== deviceId) {
      const info = `wrong device id in token, '${opened.deviceId}'`;
      throw new DeviceRefusal('invalid_token', { deviceId, info });
    }
    const owner = await service.resume(deviceId, opened.grant);
    if (owner === undefined) {
      throw new DeviceRefusal('invalid_token', { deviceId });
    }
    return owner;
  }

  async function loginByCredentials(
    { deviceId, credentials }: DeviceAuth,
    request: IncomingMessage,
  ): Promise<O> {
    // The name differs from the names of other rate limits: failures of devices behind one address must not
    // block connectors.
    const names = [`devices at ${service.path} from ${request.socket.remoteAddress ?? ''}`];
    try {
      await limits.requireAttemptsLeft(names);
    } catch (error) {
      if (!(error instanceof LastseenError)) {
        throw error;
      }
      throw new DeviceRefusal('authentication_failed', {
        deviceId,
        info: 'too many failed logins from this address',
        hint: 'rate_limited',
        retryAfterSeconds: error.retryAfterSeconds,
      });
    }
    const owner = await boundCallback(runtime.timers, service.idleMs, service.login(deviceId, credentials));
    if (owner !== undefined) {
      return owner;
    }
    await limits.recordFailure(names);
    throw new DeviceRefusal('authentication_failed', { deviceId });
  }

  function record({ deviceId, type, info, hint }: DeviceRefusal, request: IncomingMessage): void {
    const count = (counts.get(hint) ?? 0) + 1;
    counts.set(hint, count);
    const { gateway, path } = service;
    const address = request.socket.remoteAddress;
    logger.warn({ gateway, path, address, device_id: deviceId, type, info, hint, count }, 'device refused');
    // The refusal does not wait for the handler.
    void notifyHandler(deviceId, type, info);
  }

  async function notifyHandler(
    ...refusal: readonly [string | null, DeviceRefusal['type'], string]
  ): Promise<void> {
    try {
      await service.onError?.(...refusal);
    } catch (error) {
      logger.error(
        { err: error, gateway: service.gateway, path: service.path },
        'onError of a device handler failed',
      );
    }
  }

  return {
    async admit(request) {
      guards.checkOrigin(request);
      try {
        return await decide(request);
      } catch (error) {
        if (error instanceof DeviceRefusal) {
          record(error, request);
        }
        throw error;
      }
    },
    refusalOf: (error) =>
      error instanceof DeviceRefusal ? refusalProblem(error) : problemOf(errors.report(error)),
  };
}
