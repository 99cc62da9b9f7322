/** POST /query: runs read-only SQL over the data that the token covers, and returns JSON, NDJSON or CSV. */
import type { Request, Response } from 'express';
import type { Access } from '../../analysis/contract.ts';
import { querySettings } from '../../analysis/settings.ts';
import { deliverySettings } from '../../delivery/settings.ts';
import { LastseenError } from '../../errors.ts';
import { requireMediaType } from '../../http/body.ts';
import { negotiate } from '../../http/routes.ts';
import type { Principal } from '../../identity/principal.ts';
import { defineGateway, type PortsOf } from '../gateway.ts';
import { contentTypeOf, decodeQuery, formatOf, MEDIA_TYPES } from './codec.ts';
import { queryDescription } from './description.ts';

const { LASTSEEN_STALL_SECONDS } = deliverySettings;
const { LASTSEEN_QUERY_MAX_BYTES } = querySettings;

const needs = {
  ports: ['routes', 'guards', 'limits', 'bodies', 'admission', 'queries'],
  settings: { LASTSEEN_STALL_SECONDS, LASTSEEN_QUERY_MAX_BYTES },
} as const;

const MAX_BODY_BYTES = 1024 * 1024;

/** Number of results of maximum size that may wait for slow clients. Above it, new queries are refused. */
const MAX_UNSENT_ANSWERS = 8;

/** The query gateway. */
export const query = defineGateway({
  name: 'query',
  description: queryDescription,
  needs,
  mount(ports) {
    const unsent = { bytes: 0 };
    ports.routes.serve(queryDescription, {
      async 'POST /query'(request, response) {
        const principal = await ports.guards.authorize(request, 'query');
        ports.limits.countRequest(principal);
        await answer({ ...ports, unsent, principal }, request, response);
      },
    });
    return undefined;
  },
});

interface AnswerOptions extends PortsOf<typeof needs> {
  /** Bytes of results that clients have not received. */
  readonly unsent: { bytes: number };
  readonly principal: Principal;
}

async function answer(
  { queries, bodies, admission, queryMaxBytes, stallTimeoutMs, unsent, principal }: AnswerOptions,
  request: Request,
  response: Response,
): Promise<void> {
  admission.requireRunning();
  const mediaType = negotiate(request, MEDIA_TYPES);
  requireMediaType(request, ['application/json']);
  const { sql, params } = decodeQuery(
    await bodies.readJsonObject(request, { maxBytes: MAX_BODY_BYTES, principal }),
  );
  if (unsent.bytes > MAX_UNSENT_ANSWERS * queryMaxBytes) {
    throw new LastseenError('ERR_QUEUE_FULL', 'too many results wait for slow clients: retry later');
  }
  const abortController = new AbortController();
  const onClose = (): void => {
    abortController.abort();
  };
  response.once('close', onClose);
  if (response.destroyed) {
    onClose();
  }
  const format = formatOf(mediaType);
  try {
    const { body, isTruncated } = await queries.run(
      { sql, params, access: accessOf(principal) },
      format,
      abortController.signal,
    );
    const bytes = body.reduce((sum, piece) => sum + piece.length, 0);
    response.writeHead(200, {
      'Content-Type': contentTypeOf(format),
      'Content-Length': bytes,
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      // NDJSON and CSV have no field for it, so that all formats use a header.
      'Lastseen-Truncated': String(isTruncated),
    });
    unsent.bytes += bytes;
    response.once('close', () => (unsent.bytes -= bytes));
    response.setTimeout(stallTimeoutMs, () => response.destroy());
    for (const piece of body) {
      response.write(piece);
    }
    response.end();
  } finally {
    response.off('close', onClose);
  }
}

/** Returns the access of a principal: everything for an admin, otherwise the access_ids of its token. */
function accessOf(principal: Principal): Access {
  return principal.scopes.has('admin') ? 'everything' : principal.accessIds;
}
