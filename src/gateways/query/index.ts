/** POST /query: SQL that only reads, over what the token covers, as JSON, NDJSON or CSV. */
import type { Express, Request, Response } from 'express';
import type { Access } from '../../analysis/contract.ts';
import type { Queries } from '../../analysis/queries.ts';
import { LastseenError } from '../../errors.ts';
import { readJsonObject, requireMediaType } from '../../http/body.ts';
import type { Guards } from '../../http/guards.ts';
import type { Limits } from '../../http/rate-limits.ts';
import type { Principal } from '../../identity/principal.ts';
import { contentTypeOf, decodeQuery, formatOf, MEDIA_TYPES } from './codec.ts';

export interface QueryOptions {
  readonly app: Express;
  readonly guards: Guards;
  readonly limits: Limits;
  readonly queries: Queries;
  readonly queryMaxBytes: number;
  /** A client that takes no byte of its answer for so long is closed. */
  readonly stallTimeoutMs: number;
  /** Aborted at drain: no new query is begun. */
  readonly draining: AbortSignal;
}

const MAX_BODY_BYTES = 1024 * 1024;

/** So many of the largest answers may wait for clients that read slowly; then no new query is begun. */
const MAX_UNSENT_ANSWERS = 8;

export function mountQuery(options: QueryOptions): void {
  const { app, guards } = options;
  const unsent = { bytes: 0 };
  app.post('/query', async (request, response) => {
    const principal = await guards.authorize(request, 'query');
    options.limits.takeRequest(principal);
    await answer(options, unsent, principal, request, response);
  });
  app.all('/query', (_request, response) => {
    response.setHeader('Allow', 'POST');
    throw new LastseenError('ERR_METHOD', 'only POST is served here');
  });
}

async function answer(
  { queries, draining, queryMaxBytes, stallTimeoutMs }: QueryOptions,
  unsent: { bytes: number },
  principal: Principal,
  request: Request,
  response: Response,
): Promise<void> {
  if (draining.aborted) {
    throw new LastseenError('ERR_DRAINING', 'the server is shutting down: come back later');
  }
  const accepted = request.accepts([...MEDIA_TYPES]);
  const mediaType = MEDIA_TYPES.find((type) => type === accepted);
  if (mediaType === undefined) {
    throw new LastseenError('ERR_NOT_ACCEPTABLE', `answers are had as ${MEDIA_TYPES.join(', ')}`);
  }
  requireMediaType(request, ['application/json']);
  const { sql, params } = decodeQuery(await readJsonObject(request, MAX_BODY_BYTES));
  if (unsent.bytes > MAX_UNSENT_ANSWERS * queryMaxBytes) {
    throw new LastseenError('ERR_QUEUE_FULL', 'too many answers wait to be read: try again in a moment');
  }
  const gone = new AbortController();
  const onClose = (): void => {
    gone.abort();
  };
  response.once('close', onClose);
  if (response.destroyed) {
    onClose();
  }
  const format = formatOf(mediaType);
  try {
    const { body, isTruncated } = await queries.ask(
      { sql, params, access: accessOf(principal) },
      format,
      gone.signal,
    );
    const bytes = body.reduce((sum, piece) => sum + piece.length, 0);
    response.writeHead(200, {
      'Content-Type': contentTypeOf(format),
      'Content-Length': bytes,
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      // NDJSON and CSV have no place for it.
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

/** Everything for an admin; else what the token names, wherever it is looked at from. */
function accessOf(principal: Principal): Access {
  return principal.scopes.has('admin') ? 'everything' : principal.accessIds;
}
