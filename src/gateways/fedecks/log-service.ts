/**
 * Serves devices from the log. The device receives the feed DEVICE_ID (G3). The server appends the terms of
 * the device to DEVICE_ID/up before it acknowledges them (G1). A device logs in with the credentials of a
 * client. Its token is a grant of that client, and is revoked with it (G10).
 */
import type { FeedEncoder } from '../../delivery/feed.ts';
import { LastseenError, quote } from '../../errors.ts';
import { type Principal, requireAccess, requireScope } from '../../identity/principal.ts';
import type { TokenRecord } from '../../identity/token-store.ts';
import { cursorOf } from '../../log/cursor.ts';
import { accessIdFault } from '../../log/event.ts';
import type { Place } from '../../log/place.ts';
import { errorTerm, eventFrames } from './codec.ts';
import type { Callbacks, DeviceConnection, DeviceOwner, DeviceService } from './device-service.ts';
import { toJson } from './etf/json.ts';
import type { Term } from './etf/term.ts';
import { devicePrincipal } from './log-principal.ts';
import type { FedecksPorts } from './needs.ts';
import { createRefusalsFeed } from './refusals-feed.ts';
import { createDeviceTokens } from './tokens.ts';

interface LogDevice extends DeviceOwner {
  /** Head of the log when the device connected. */
  readonly place: Place;
  readonly grant: TokenRecord | undefined;
}

/** Creates the service of /fedecks/websocket. */
export function createLogService(ports: FedecksPorts): DeviceService<LogDevice> {
  const { log, clients, grants, isAuthOpen, deviceSecret } = ports;
  const { clock } = ports.runtime;

  async function ownerOf(
    principal: Principal | undefined,
    grant?: TokenRecord,
  ): Promise<LogDevice | undefined> {
    if (principal === undefined) {
      return undefined;
    }
    return { principal, grant, place: await log.resolve(principal.subject, { after: 'now' }) };
  }

  return {
    path: '/fedecks/websocket',
    gateway: 'fedecks',
    refreshMs: ports.deviceRefreshMs,
    idleMs: ports.deviceIdleMs,
    maxMessageBytes: ports.maxPayloadBytes,
    onError: createRefusalsFeed(log, clock),
    tokens: createDeviceTokens({
      secret: () =>
        deviceSecret === undefined ? ports.keys.secret('fedecks') : Promise.resolve(deviceSecret),
      salt: 'fedecks',
      expirySeconds: ports.deviceTokenSeconds,
      clock,
    }),
    async login(deviceId, credentials) {
      const issuedAt = clock.now();
      if (accessIdFault(deviceId) !== undefined) {
        return undefined;
      }
      if (isAuthOpen) {
        return ownerOf(devicePrincipal(deviceId, { client: undefined, issuedAt }));
      }
      const [username, password] = [credentials.get('username'), credentials.get('password')];
      if (typeof username !== 'string' || typeof password !== 'string') {
        return undefined;
      }
      try {
        const client = await clients.authenticate(username, password);
        return await ownerOf(devicePrincipal(deviceId, { client, issuedAt }));
      } catch (error) {
        if (error instanceof LastseenError && error.code === 'ERR_CLIENT_INVALID') {
          return undefined;
        }
        throw error;
      }
    },
    async resume(deviceId, name) {
      const issuedAt = clock.now();
      const grant = await grants.find(name);
      if (grant?.subject !== deviceId) {
        return undefined;
      }
      if (isAuthOpen) {
        return ownerOf(devicePrincipal(deviceId, { client: undefined, issuedAt, grant }), grant);
      }
      const client = grant.clientId === null ? undefined : await clients.find(grant.clientId);
      if (client === undefined) {
        return undefined;
      }
      return ownerOf(devicePrincipal(deviceId, { client, issuedAt, grant }), grant);
    },
    serve: (device, owner) => serveFromLog(device, owner, ports),
  };
}

/** State of the feed of a device: before its first frame, subscribed, or stopped after a refused cursor. */
type FeedState = 'not-yet' | 'on' | 'stopped';

function serveFromLog(device: DeviceConnection, owner: LogDevice, ports: FedecksPorts): Callbacks {
  const { log, limits, grants, deviceTokenSeconds } = ports;
  const { clock } = ports.runtime;
  const { deviceId, session } = device;
  const uplink = `${deviceId}/up`;
  let feedState: FeedState = 'not-yet';
  let grant = owner.grant;
  const feed: FeedEncoder = {
    events: eventFrames,
    live: () => undefined,
  };

  function startReading(after: Place): void {
    feedState = 'on';
    session.subscribe({ accessId: deviceId, after, encoder: feed });
  }

  /**
   * Restarts the feed after the cursor. A refused cursor leaves the feed stopped, so that no event is skipped
   * without an error.
   */
  async function resume(cursor: Term | undefined): Promise<void> {
    if (feedState === 'on') {
      session.unsubscribe(deviceId);
    }
    feedState = 'stopped';
    if (typeof cursor !== 'string') {
      const message = `"resume" must be a cursor, "start" or "now", got ${quote(cursor)}`;
      throw new LastseenError('ERR_CURSOR_MALFORMED', message);
    }
    const place = await log.resolve(deviceId, { after: cursor });
    if (device.signal.aborted) {
      return;
    }
    device.send(new Map([['resumed', cursorOf(place)]]));
    startReading(place);
  }

  async function append(payload: string): Promise<Term> {
    const { principal } = session;
    requireScope(principal, 'push');
    requireAccess(principal, uplink);
    if (Buffer.byteLength(payload) > ports.maxPayloadBytes) {
      const message = `the message must have at most ${ports.maxPayloadBytes} bytes as JSON, got ${Buffer.byteLength(payload)}`;
      throw new LastseenError('ERR_TOO_LARGE', message);
    }
    limits.countRequest(principal);
    limits.countEvents(principal, 1);
    const events = [{ accessId: uplink, createdAt: null, id: null, payload }];
    const [receipt] = await log.append({ events, key: null });
    if (receipt === undefined) {
      throw new Error('the log returned no receipt');
    }
    return new Map<Term, Term>([
      ['stored', cursorOf(receipt)],
      ['version', receipt.version],
    ]);
  }

  /** Runs the work and replies with its result or its error. The device stays connected. */
  async function replyWith(work: () => Promise<Term | undefined>): Promise<'ok' | { reply: Term }> {
    try {
      const reply = await work();
      return reply === undefined ? 'ok' : { reply };
    } catch (error) {
      return { reply: errorTerm(ports.errors.report(error)) };
    }
  }

  return {
    /**
     * One grant serves many tokens. If it expires before the next token does, a new grant of the same family
     * replaces it.
     */
    async issueGrant() {
      if (grant !== undefined && grant.expiresAt >= clock.now() + deviceTokenSeconds * 1_000) {
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
    onFirstFrame() {
      if (feedState === 'not-yet') {
        startReading(owner.place);
      }
    },
    onMessage: (message) =>
      replyWith(async () => {
        if (message instanceof Map && message.size === 1 && message.has('resume')) {
          await resume(message.get('resume'));
          return undefined;
        }
        return append(toJson(message));
      }),
    onRawMessage: (bytes) => replyWith(() => append(toJson(bytes))),
    feeds: () => (feedState === 'on' ? [] : [{ accessId: deviceId, place: owner.place, isLive: false }]),
    onOvertaken(error) {
      device.send(errorTerm(error));
    },
  };
}
