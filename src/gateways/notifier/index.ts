/** The notifier: POST /push_events, POST /drop_user, GET /clients, WebSocket /subscribe_to_events. */
import { createHash } from 'node:crypto';
import type { Request, Response } from 'express';
import { dropUser } from '../../delivery/control.ts';
import { invalidField, LastseenError, quote } from '../../errors.ts';
import { requireMediaType } from '../../http/body.ts';
import { type Principal, requireAccess } from '../../identity/principal.ts';
import { nameFault, type NewEvent } from '../../log/event.ts';
import type { AppendRequest } from '../../log/store.ts';
import { defineGateway } from '../gateway.ts';
import { localClientsJson, sendClients } from './clients.ts';
import { notifierDescription } from './description.ts';
import { needs, type NotifierPorts } from './needs.ts';
import { decodePush, encodeReceipts, PUSH_TYPES } from './push-codec.ts';
import { createSocketHandler } from './socket.ts';

/** Maximum bytes of a request body other than a batch. */
const MAX_REQUEST_BYTES = 16 * 1024;

/** The notifier gateway. */
export const notifier = defineGateway({
  name: 'notifier',
  description: notifierDescription,
  needs,
  mount(ports) {
    ports.peers.answerWith(() => localClientsJson(ports.hub, ports.log));
    ports.routes.serve(notifierDescription, {
      'POST /push_events': { fast: (request, response) => push(ports, request, response) },
      'POST /drop_user': (request, response) => drop(ports, request, response),
      async 'GET /clients'(request, response) {
        await ports.guards.authorize(request, 'admin');
        await sendClients(ports.peers, request, response);
      },
    });
    ports.sockets.route({
      path: '/subscribe_to_events',
      gateway: 'notifier',
      admit: ports.guards.fromUpgrade,
      subjectOf: (principal) => principal?.subject,
      handle: createSocketHandler(ports),
    });
    return undefined;
  },
});

async function push(ports: NotifierPorts, request: Request, response: Response): Promise<void> {
  const { log, guards } = ports;
  const authorized = guards.authorize(request, 'push');
  const principal = authorized instanceof Promise ? await authorized : authorized;
  const type = requireMediaType(request, PUSH_TYPES);
  ports.limits.countRequest(principal);
  const text = await ports.bodies.readText(request, { maxBytes: ports.maxBatchBytes, principal });
  const events = decodePush(type, text, ports);
  for (const event of events) {
    requireAccess(principal, event.accessId);
  }
  ports.limits.countEvents(principal, events.length);
  const receipts = await log.append({ events, key: batchKey(request, principal, events) });
  const wantsReceipts = /(^|[\s,;])return=representation\b/i.test(String(request.headers['prefer'] ?? ''));
  if (wantsReceipts) {
    response.setHeader('Preference-Applied', 'return=representation');
  }
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.end(wantsReceipts ? encodeReceipts(events, receipts) : 'true');
}

/** The key contains the subject, so that two principals can use the same Idempotency-Key. */
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

async function drop(ports: NotifierPorts, request: Request, response: Response): Promise<void> {
  const principal = await ports.guards.authorize(request, 'drop');
  requireMediaType(request, ['application/json']);
  const { drop_access_id: accessId, revoke } = await ports.bodies.readJsonObject(request, {
    maxBytes: MAX_REQUEST_BYTES,
    principal,
  });
  const fault = nameFault(accessId);
  if (fault !== undefined) {
    throw invalidField('/drop_access_id', fault);
  }
  requireAccess(principal, accessId as string);
  if (revoke !== undefined && typeof revoke !== 'boolean') {
    throw invalidField('/revoke', `must be true or false, got ${quote(revoke)}`);
  }
  if (revoke === true) {
    await ports.tokens.revokeSubject(accessId as string);
  }
  await dropUser(ports.log, accessId as string);
  response.type('json').end('true');
}
