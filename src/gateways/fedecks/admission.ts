/** Who comes in, before the upgrade: the decision table of the protocol, and the record of refusals. */
import type { IncomingMessage } from 'node:http';
import type { Hub } from '../../delivery/hub.ts';
import { LastseenError } from '../../errors.ts';
import type { Guards } from '../../http/guards.ts';
import { type Problem, problemOf, userError } from '../../http/problem.ts';
import type { Limits } from '../../http/rate-limits.ts';
import type { Principal } from '../../identity/principal.ts';
import type { Logger } from '../../logger.ts';
import { type DeviceAuth, readAuth } from './auth.ts';
import type { DeviceRoom, Holder } from './device-service.ts';
import { DeviceRefusal, refusalProblem } from './refusal.ts';
import { within } from './within.ts';

export interface GateOptions {
  readonly guards: Guards;
  readonly limits: Limits;
  readonly hub: Hub;
  readonly logger: Logger;
  readonly maxConnectionsPerPrincipal: number;
}

export interface Admitted<H> {
  readonly deviceId: string;
  readonly holder: H;
}

export interface Gate<H> {
  admit(request: IncomingMessage): Promise<Admitted<H>>;
  refusalOf(error: unknown): Problem;
}

export function createGate<H extends Holder>(room: DeviceRoom<H>, options: GateOptions): Gate<H> {
  const { guards, limits, hub, logger } = options;
  /** Refusals since the start, by type and info as far as they are ours. */
  const counts = new Map<string, number>();

  async function decide(request: IncomingMessage): Promise<Admitted<H>> {
    const auth = readAuth(request.headersDistinct['x-fedecks-auth']?.[0]);
    const { deviceId } = auth;
    const holder = auth.token === undefined ? await loggedIn(auth, request) : await cameBack(auth);
    requirePlace(holder.principal, deviceId);
    return { deviceId, holder };
  }

  function requirePlace({ subject, accessIds }: Principal, deviceId: string): void {
    const isFull = accessIds.includes(deviceId) && hub.isFullFor(deviceId);
    if (!isFull && hub.countOf(subject) < options.maxConnectionsPerPrincipal) {
      return;
    }
    const message = 'this device has too many connections: come back later';
    throw new LastseenError('ERR_TOO_MANY_CONNECTIONS', message);
  }

  /** With a token, credentials beside it are not looked at. */
  async function cameBack({ deviceId, token = null }: DeviceAuth): Promise<H> {
    const opened = await room.tokens.open(token);
    if (!opened.isOurs) {
      throw new DeviceRefusal(deviceId, 'invalid_token', '');
    }
    if (opened.isOver) {
      throw new DeviceRefusal(deviceId, 'invalid_token', '', { hint: 'token_expired' });
    }
    if (opened.deviceId !== deviceId) {
      const info = `wrong device id in token, '${opened.deviceId}'`;
      throw new DeviceRefusal(deviceId, 'invalid_token', info);
    }
    const holder = await room.comeBack(deviceId, opened.grant);
    if (holder === undefined) {
      throw new DeviceRefusal(deviceId, 'invalid_token', '');
    }
    return holder;
  }

  async function loggedIn({ deviceId, credentials }: DeviceAuth, request: IncomingMessage): Promise<H> {
    // Not the name that other secrets are counted under: a fleet behind one address must not lock out connectors.
    const names = [`devices at ${room.path} from ${request.socket.remoteAddress ?? ''}`];
    try {
      await limits.checkAttempts(names);
    } catch (error) {
      if (!(error instanceof LastseenError)) {
        throw error;
      }
      throw new DeviceRefusal(deviceId, 'authentication_failed', 'too many failed logins from this address', {
        hint: 'rate_limited',
        retryAfterSeconds: error.retryAfterSeconds,
      });
    }
    const holder = await within(room.idleMs, room.login(deviceId, credentials));
    if (holder !== undefined) {
      return holder;
    }
    await limits.failed(names);
    throw new DeviceRefusal(deviceId, 'authentication_failed', '');
  }

  function record({ deviceId, type, info, hint }: DeviceRefusal, request: IncomingMessage): void {
    const count = (counts.get(hint) ?? 0) + 1;
    counts.set(hint, count);
    const { gateway, path } = room;
    const address = request.socket.remoteAddress;
    logger.warn({ gateway, path, address, device_id: deviceId, type, info, hint, count }, 'device refused');
    // Nobody waits for it: what it does with the news is its own affair.
    void tell(deviceId, type, info);
  }

  async function tell(...news: readonly [string | null, DeviceRefusal['type'], string]): Promise<void> {
    try {
      await room.onError?.(...news);
    } catch (error) {
      logger.error(
        { err: error, gateway: room.gateway, path: room.path },
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
      error instanceof DeviceRefusal ? refusalProblem(error) : problemOf(userError(error, logger)),
  };
}
