/**
 * GET /openapi.json and GET /asyncapi.json: the API documents, built from the descriptions of the gateways.
 * They are public and contain no user data.
 */
import type { Response } from 'express';
import { z } from 'zod';
import type { Description } from '../../http/description.ts';
import type { Handler } from '../../http/routes.ts';
import { defineGateway } from '../gateway.ts';
import { asyncApiOf } from './asyncapi.ts';
import { openApiOf } from './openapi.ts';

const CONTENT = { 'application/json': z.object({}) };

const description = {
  name: 'description',
  text: 'Returns the API documents.',
  routes: {
    'GET /openapi.json': {
      summary: 'Returns this document, which describes the routes in OpenAPI 3.1',
      access: 'open',
      answers: { 200: { text: 'the document', content: CONTENT } },
    },
    'GET /asyncapi.json': {
      summary: 'Returns the document that describes the channels in AsyncAPI 3.0',
      access: 'open',
      answers: { 200: { text: 'the document', content: CONTENT } },
    },
  },
} as const satisfies Description;

/** The gateway of the API documents. */
export const apiDocs = defineGateway({
  name: 'api-docs',
  description,
  needs: { ports: ['routes', 'descriptions', 'version'], settings: {} },
  mount({ routes, descriptions, version }) {
    routes.serve(description, {
      'GET /openapi.json': cached(() => openApiOf(descriptions, version)),
      'GET /asyncapi.json': cached(() => asyncApiOf(descriptions, version)),
    });
    return undefined;
  },
});

/**
 * Builds the document on the first request, and caches it. The answers share its bytes; a string would be copied for
 * each client that does not read (G7).
 */
function cached(build: () => object): Handler {
  let bytes: Buffer | undefined;
  return (_request, response: Response) => {
    bytes ??= Buffer.from(JSON.stringify(build()));
    response.set('Cache-Control', 'public, max-age=60').type('json').end(bytes);
  };
}
