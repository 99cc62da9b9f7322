/** The notifier's room: POST /push_events, POST /drop_user, GET /clients, WebSocket /subscribe_to_events. */
import { createHash } from 'node:crypto';
import type { Express, Request, Response } from 'express';
import { dropUser } from '../../delivery/control.ts';
import type { Hub } from '../../delivery/hub.ts';
import { LastseenError } from '../../errors.ts';
import type { HttpApp } from '../../http/app.ts';
import { readJsonObject, readText, requireMediaType } from '../../http/body.ts';
import type { Guards } from '../../http/guards.ts';
import type { Limits } from '../../http/rate-limits.ts';
import type { Sockets } from '../../http/sockets.ts';
import { type Principal, requireAccess } from '../../identity/principal.ts';
import type { Tokens } from '../../identity/tokens.ts';
import { nameFault, type NewEvent } from '../../log/event.ts';
import type { Log } from '../../log/log.ts';
import type { AppendRequest } from '../../log/store.ts';
import type { Logger } from '../../logger.ts';
import type { Peers } from '../../peers.ts';
import { connectedHere, sendClients } from './clients.ts';
import { decodePush, encodeReceipts, PUSH_TYPES, type PushLimits } from './push-codec.ts';
import { createSocketHandler } from './socket.ts';

export interface NotifierOptions extends PushLimits {
  readonly app: Express;
  readonly hot: HttpApp['hot'];
  readonly sockets: Sockets;
  readonly log: Log;
  readonly peers: Peers;
  readonly hub: Hub;
  readonly guards: Guards;
  readonly logger: Logger;
  readonly maxBatchBytes: number;
  readonly maxConnectionsPerPrincipal: number;
  readonly limits: Limits;
  readonly tokens: Tokens;
  readonly stallTimeoutMs: number;
}

/** Bytes of a body that is not a batch. */
const MAX_REQUEST_BYTES = 16 * 1024;

export function mountNotifier(options: NotifierOptions): void {
  const { app, sockets } = options;
  const onPush = (request: Request, response: Response): Promise<void> => push(options, request, response);
  options.hot('POST', '/push_events', onPush);
  only(app, 'post', '/push_events', onPush);
  only(app, 'post', '/drop_user', (request, response) => drop(options, request, response));
  options.peers.onAsk(() => connectedHere(options.hub, options.log));
  only(app, 'get', '/clients', async (request, response) => {
    await options.guards.authorize(request, 'admin');
    await sendClients(options.peers, request, response);
  });
  sockets.route({
    path: '/subscribe_to_events',
    gateway: 'notifier',
    admit: options.guards.fromUpgrade,
    handle: createSocketHandler(options),
  });
}

async function push(options: NotifierOptions, request: Request, response: Response): Promise<void> {
  const { log, guards } = options;
  const authorized = guards.authorize(request, 'push');
  const principal = authorized instanceof Promise ? await authorized : authorized;
  const type = requireMediaType(request, PUSH_TYPES);
  options.limits.takeRequest(principal);
  const events = decodePush(type, await readText(request, options.maxBatchBytes), options);
  for (const event of events) {
    requireAccess(principal, event.accessId);
  }
  options.limits.takeEvents(principal, events.length);
  const receipts = await log.append({ events, key: batchKey(request, principal, events) });
  const wantsReceipts = /(^|[\s,;])return=representation\b/i.test(String(request.headers['prefer'] ?? ''));
  if (wantsReceipts) {
    response.setHeader('Preference-Applied', 'return=representation');
  }
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.end(wantsReceipts ? encodeReceipts(events, receipts, log.cursor) : 'true');
}

/** Keys are each principal's own, so that one connector cannot hit on another's. */
function batchKey(request: Request, principal: Principal, events: readonly NewEvent[]): AppendRequest['key'] {
  const key = request.headers['idempotency-key'];
  if (key === undefined) {
    return null;
  }
  const fault = nameFault(key);
  if (fault !== undefined) {
    throw new LastseenError('ERR_REQUEST_INVALID', `Idempotency-Key ${fault}`);
  }
  const hash = createHash('sha256');
  for (const { accessId, createdAt, id, payload } of events) {
    hash.update(JSON.stringify([accessId, createdAt, id, payload]));
  }
  return { value: JSON.stringify([principal.subject, key]), fingerprint: hash.digest('hex') };
}

async function drop(options: NotifierOptions, request: Request, response: Response): Promise<void> {
  const principal = await options.guards.authorize(request, 'drop');
  requireMediaType(request, ['application/json']);
  const { drop_access_id: accessId, revoke } = await readJsonObject(request, MAX_REQUEST_BYTES);
  const fault = nameFault(accessId);
  if (fault !== undefined) {
    const faults = [{ pointer: '/drop_access_id', detail: fault }];
    throw new LastseenError('ERR_REQUEST_INVALID', `drop_access_id ${fault}`, { faults });
  }
  requireAccess(principal, accessId as string);
  if (revoke !== undefined && typeof revoke !== 'boolean') {
    const faults = [{ pointer: '/revoke', detail: 'must be true or false' }];
    throw new LastseenError('ERR_REQUEST_INVALID', 'revoke must be true or false', { faults });
  }
  if (revoke === true) {
    await options.tokens.revokeSubject(accessId as string);
  }
  await dropUser(options.log, accessId as string);
  response.type('json').end('true');
}

/** Serves one method at a path and says so to the others. */
function only(
  app: Express,
  method: 'get' | 'post',
  path: string,
  handle: (request: Request, response: Response) => void | Promise<void>,
): void {
  app[method](path, handle);
  app.all(path, (_request, response) => {
    response.setHeader('Allow', method.toUpperCase());
    throw new LastseenError('ERR_METHOD', `only ${method.toUpperCase()} is served here`);
  });
}
