/**
 * Devices on the log: the feed DEVICE_ID goes to the device (G3), what it sends is appended to DEVICE_ID/up before it is
 * told so (G1). A device logs in as a connector's client; its token is a grant of that client, revoked with it (G10).
 */
import type { Hub } from '../../delivery/hub.ts';
import type { FeedEncoder } from '../../delivery/session.ts';
import { LastseenError, shown } from '../../errors.ts';
import { userError } from '../../http/problem.ts';
import type { Limits } from '../../http/rate-limits.ts';
import type { Clients } from '../../identity/clients.ts';
import type { Grants } from '../../identity/grants.ts';
import type { Keys } from '../../identity/keys.ts';
import { type Principal, requireAccess, requireScope } from '../../identity/principal.ts';
import type { TokenRecord } from '../../identity/token-store.ts';
import { accessIdFault } from '../../log/event.ts';
import type { Log } from '../../log/log.ts';
import type { Logger } from '../../logger.ts';
import { errorTerm, eventFrames } from './codec.ts';
import type { Callbacks, DeviceRoom, Holder, Served } from './device-service.ts';
import { toJson } from './etf/json.ts';
import type { Term } from './etf/term.ts';
import { devicePrincipal } from './log-principal.ts';
import { createRefusalsFeed } from './refusals-feed.ts';
import { createDeviceTokens } from './tokens.ts';

export interface LogRoomOptions {
  readonly log: Log;
  readonly hub: Hub;
  readonly clients: Clients;
  readonly grants: Grants;
  readonly keys: Keys;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly isAuthOpen: boolean;
  readonly maxPayloadBytes: number;
  readonly deviceSecret: string | undefined;
  readonly deviceTokenSeconds: number;
  readonly deviceRefreshMs: number;
  readonly deviceIdleMs: number;
}

interface LogHolder extends Holder {
  /** The head of the log when the device was let in. */
  readonly position: number;
  readonly grant: TokenRecord | undefined;
}

export function createLogRoom(options: LogRoomOptions): DeviceRoom<LogHolder> {
  const { log, clients, grants, isAuthOpen, deviceSecret } = options;

  async function holderOf(
    principal: Principal | undefined,
    grant?: TokenRecord,
  ): Promise<LogHolder | undefined> {
    if (principal === undefined) {
      return undefined;
    }
    return { principal, grant, position: await log.resolve(principal.subject, { after: 'now' }) };
  }

  return {
    path: '/fedecks/websocket',
    gateway: 'fedecks',
    refreshMs: options.deviceRefreshMs,
    idleMs: options.deviceIdleMs,
    maxMessageBytes: options.maxPayloadBytes,
    onError: createRefusalsFeed(log),
    tokens: createDeviceTokens({
      secret: () =>
        deviceSecret === undefined ? options.keys.secret('fedecks') : Promise.resolve(deviceSecret),
      salt: 'fedecks',
      expirySeconds: options.deviceTokenSeconds,
    }),
    async login(deviceId, credentials) {
      const issuedAt = Date.now();
      if (accessIdFault(deviceId) !== undefined) {
        return undefined;
      }
      if (isAuthOpen) {
        return holderOf(devicePrincipal(deviceId, undefined, issuedAt));
      }
      const [username, password] = [credentials.get('username'), credentials.get('password')];
      if (typeof username !== 'string' || typeof password !== 'string') {
        return undefined;
      }
      try {
        const client = await clients.authenticate(username, password);
        return await holderOf(devicePrincipal(deviceId, client, issuedAt));
      } catch (error) {
        if (error instanceof LastseenError && error.code === 'ERR_CLIENT_INVALID') {
          return undefined;
        }
        throw error;
      }
    },
    async comeBack(deviceId, name) {
      const issuedAt = Date.now();
      const grant = await grants.find(name);
      if (grant?.subject !== deviceId) {
        return undefined;
      }
      if (isAuthOpen) {
        return holderOf(devicePrincipal(deviceId, undefined, issuedAt, grant), grant);
      }
      const client = grant.clientId === null ? undefined : await clients.find(grant.clientId);
      if (client === undefined) {
        return undefined;
      }
      return holderOf(devicePrincipal(deviceId, client, issuedAt, grant), grant);
    },
    serve: (device, holder) => serveFromLog(device, holder, options),
  };
}

/** Where a device stands with its feed: before its first frame, reading, or without a place to go on from. */
type Reading = 'not-yet' | 'on' | 'stopped';

function serveFromLog(device: Served, holder: LogHolder, options: LogRoomOptions): Callbacks {
  const { log, limits, grants, deviceTokenSeconds } = options;
  const { deviceId, session } = device;
  const up = `${deviceId}/up`;
  let reading: Reading = 'not-yet';
  let grant = holder.grant;
  const feed: FeedEncoder = {
    events: (_accessId, events) => eventFrames(events, log.cursor),
    live: () => undefined,
  };

  function read(position: number): void {
    reading = 'on';
    session.subscribe(deviceId, position, feed);
  }

  /** From the cursor on, whatever was sent before. A refused one leaves the feed stopped: nothing is skipped unsaid. */
  async function resume(cursor: Term | undefined): Promise<void> {
    if (reading === 'on') {
      session.unsubscribe(deviceId);
    }
    reading = 'stopped';
    if (typeof cursor !== 'string') {
      const message = `"resume" must be a cursor, "start" or "now", got ${shown(cursor)}`;
      throw new LastseenError('ERR_CURSOR_MALFORMED', message);
    }
    const position = await log.resolve(deviceId, { after: cursor });
    if (device.signal.aborted) {
      return;
    }
    device.send(new Map([['resumed', log.cursor(position)]]));
    read(position);
  }

  async function append(payload: string): Promise<Term> {
    const { principal } = session;
    requireScope(principal, 'push');
    requireAccess(principal, up);
    if (Buffer.byteLength(payload) > options.maxPayloadBytes) {
      const message = `as JSON the message has more than ${options.maxPayloadBytes} bytes`;
      throw new LastseenError('ERR_TOO_LARGE', message);
    }
    limits.takeRequest(principal);
    limits.takeEvents(principal, 1);
    const events = [{ accessId: up, createdAt: null, id: null, payload }];
    const [receipt] = await log.append({ events, key: null });
    if (receipt === undefined) {
      throw new Error('an append without a receipt');
    }
    return new Map<Term, Term>([
      ['stored', log.cursor(receipt.position)],
      ['version', receipt.version],
    ]);
  }

  /** What goes wrong is said to the device, which stays connected. */
  async function saying(work: () => Promise<Term | undefined>): Promise<'ok' | { reply: Term }> {
    try {
      const reply = await work();
      return reply === undefined ? 'ok' : { reply };
    } catch (error) {
      return { reply: errorTerm(userError(error, options.logger)) };
    }
  }

  return {
    /** One grant serves many tokens: it outlives the one that is issued now, or another goes on from it. */
    async nameToken() {
      if (grant !== undefined && grant.expiresAt >= Date.now() + deviceTokenSeconds * 1_000) {
        return grant.jti;
      }
      const { principal } = session;
      const request = {
        subject: deviceId,
        scope: [...principal.scopes].join(' '),
        accessIds: principal.accessIds,
        expiresInSeconds: 2 * deviceTokenSeconds,
        clientId: principal.clientId,
      };
      grant = await grants.issue(request, grant?.family);
      session.renew({ ...principal, jti: grant.jti, family: grant.family });
      return grant.jti;
    },
    onHeard() {
      if (reading === 'not-yet') {
        read(holder.position);
      }
    },
    onMessage: (message) =>
      saying(async () => {
        if (message instanceof Map && message.size === 1 && message.has('resume')) {
          await resume(message.get('resume'));
          return undefined;
        }
        return append(toJson(message));
      }),
    onRawMessage: (bytes) => saying(() => append(toJson(bytes))),
    feeds: () => (reading === 'on' ? [] : [{ accessId: deviceId, position: holder.position, isLive: false }]),
    onOvertaken(error) {
      device.send(errorTerm(error));
    },
  };
}
